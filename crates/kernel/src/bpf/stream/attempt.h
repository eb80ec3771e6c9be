/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Connections as they begin.
 */
#ifndef NETGLASS_STREAM_ATTEMPT_H
#define NETGLASS_STREAM_ATTEMPT_H

/*
 * An attempt begins, in the context of whoever called connect(2). The socket may have been
 * connected before.
 */
static __always_inline void connecting(struct tracked_socket *tracked,
				       const struct beginning *attempt)
{
	__builtin_memset(tracked, 0, sizeof(*tracked));
	tracked->process = attempt->process;
	tracked->peer_port = attempt->peer_port;
	__builtin_memcpy(tracked->peer_address, attempt->peer_address, ADDRESS_LENGTH);
	tracked->role = ROLE_ACTIVE;
}

/* An attempt before this one, which ended without a segment. */
static __noinline void never_left(struct sock *sk, __u32 process, __u16 port, const __u8 *address)
{
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};

	__builtin_memcpy(key.peer_address, address, ADDRESS_LENGTH);
	if (*(__u32 *)&key.peer_address[8] == bpf_htonl(0xffff))
		map_address(key.local_address, 0);
	key.network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	key.process = process;
	key.service_port = port;
	key.protocol = IPPROTO_TCP;
	more.failed[FAILURE_UNREACHABLE] = 1;
	add_to_flow(&key, &more, current_epoch());
}

/*
 * The same socket may try one address after the other. Where that is told by calls of connect(2),
 * an attempt of which nothing more was seen never left.
 */
static __always_inline void attempt_connection(struct sock *sk, const struct beginning *attempt,
					       bool is_call)
{
	struct connection *before;
	struct tracked_socket *tracked;
	long error;

	tracked = tracked_of(sk);
	if (!tracked) {
		error = enter(sk, attempt);
		if (!error)
			return;
		before = error == -EEXIST ? connection_of(sk) : 0;
		if (before) {
			__u64 state = before->state;

			if (is_call && before->role == ROLE_ACTIVE &&
			    !(state & (CONNECTION_ENDED | CONNECTION_COUNTED)))
				never_left(sk, before->process, before->peer_port,
					   before->peer_address);
			state = (state + CONNECTION_ATTEMPT) & CONNECTION_ATTEMPTS;
			state |= attempt->cookie << CONNECTION_COOKIE_SHIFT | CONNECTION_INCOMPLETE;
			__sync_lock_test_and_set(&before->state, state);
			complete(before, sk, attempt);
			return;
		}
		tracked = track(sk);
		if (!tracked)
			return;
	}
	if (is_call && tracked->role == ROLE_ACTIVE && !tracked->counted_in)
		never_left(sk, tracked->process, tracked->peer_port, tracked->peer_address);
	connecting(tracked, attempt);
}

/*
 * Who connects and who listens, where cgroup/connect and cgroup/post_bind cannot tell. Both are
 * calls of a process, which no interrupt makes while this runs.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(observe_state, struct sock *sk, int before, int after)
{
	struct beginning attempt = {};
	struct tracked_socket *tracked;

	if ((after != TCP_SYN_SENT && after != TCP_LISTEN) || sk->sk_protocol != IPPROTO_TCP ||
	    !is_wanted(sk))
		return 0;
	attempt.process = current_process();
	if (after == TCP_LISTEN) {
		tracked = track(sk);
		if (!tracked)
			return 0;
		connecting(tracked, &attempt);
		tracked->role = ROLE_LISTENER;
		note_listening(sk, tracked->process);
		return 0;
	}
	attempt.role = ROLE_ACTIVE;
	attempt.cookie = bpf_get_socket_cookie(sk);
	attempt_connection(sk, &attempt, false);
	return 0;
}

#endif
