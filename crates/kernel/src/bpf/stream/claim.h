/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose an accepted connection is.
 */
#ifndef NETGLASS_STREAM_CLAIM_H
#define NETGLASS_STREAM_CLAIM_H

/*
 * The process that works with an accepted connection is the one it belongs to, and not the one
 * that listened, where these are two. Nor is it known of what was there before us and nobody was
 * seen to hold. Once counted, a connection stays where it was counted.
 */
static __always_inline void claim_tracked(struct sock *sk, struct tracked_socket *tracked)
{
	__u32 process;

	if (tracked->role != ROLE_LISTENER && !(tracked->flags & SOCKET_UNHELD))
		return;
	if (tracked->counted_in && tracked->counted_in != EPOCH_BEFORE)
		return;
	process = current_process();
	if (!process)
		return;
	tracked->process = process;
	tracked->flags &= ~SOCKET_UNHELD;
	if (tracked->role == ROLE_LISTENER)
		tracked->role = ROLE_PASSIVE;
}

static __always_inline void settle_claim(struct sock *sk)
{
	struct tracked_socket *tracked = tracked_of(sk);
	struct connection *connection;

	if (!tracked || !is_settled(tracked, EPOCH_BEFORE))
		return;
	connection = connection_of(sk);
	if (connection)
		__sync_fetch_and_or(&connection->state, CONNECTION_ENDED);
}

/*
 * Nothing is done when a connection is accepted: it is known from when somebody works with it. One
 * that was there before us is not taken for it, unless the iterators over what was there could not
 * come by it although they came by its listener.
 */
static __noinline void claim_unknown(struct sock *sk)
{
	struct tracked_socket *tracked = tracked_of(sk);
	struct beginning accepted = {};
	__u32 phase = current_phase();
	const __u32 *listener;
	long error;

	if (!is_wanted(sk))
		return;
	if (!tracked)
		tracked = take_over(sk);
	if (tracked) {
		claim_tracked(sk, tracked);
		return;
	}
	if (phase != PHASE_FOUND_ALL && phase != PHASE_FOUND_SOME)
		return;
	accepted.role = ROLE_PASSIVE;
	accepted.process = current_process();
	if (phase == PHASE_FOUND_SOME || !accepted.process) {
		listener = listener_of(sk, sk->__sk_common.skc_num);
		if (!listener)
			return;
		if (!accepted.process) {
			accepted.process = *listener;
			accepted.role = ROLE_LISTENER;
		}
	}
	accepted.cookie = bpf_get_socket_cookie(sk);
	error = enter(sk, &accepted);
	if (!error)
		settle_claim(sk);
	/* Another thread may have been faster. */
	if (!error || error == -EEXIST)
		return;
	tracked = track(sk);
	if (tracked && tracked->role == ROLE_NONE && !tracked->counted_in) {
		tracked->process = accepted.process;
		tracked->role = accepted.role;
	}
}

static __always_inline void claim(struct sock *sk)
{
	if (!connection_of(sk))
		claim_unknown(sk);
}

#endif
