/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Sockets that were there when we start, as the kernel's lists (sock_diag) and /proc tell of them
 * where the iterators of existing.h are missing. There is no way from a list to a socket: those that
 * no iterator finds are taken over when they are met, when somebody works with them or when they end.
 */
#ifndef NETGLASS_STREAM_LISTED_H
#define NETGLASS_STREAM_LISTED_H

/* Of a socket that the program may not look into, but copy from. */
static __always_inline const struct listed_socket *listed_of(struct sock *sk)
{
	__u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);

	return bpf_map_lookup_elem(&listed_sockets, &cookie);
}

/* Whoever is found to hold it comes before what the list says. */
static __always_inline void hold_as_listed(struct tracked_socket *tracked,
					   const struct listed_socket *listed)
{
	if (!listed || !listed->process || tracked->holder_since)
		return;
	tracked->process = listed->process;
	tracked->holder_since = ~0ULL;
}

static __noinline struct tracked_socket *take_over(struct sock *sk)
{
	struct tracked_socket tracked = {
		.flags = SOCKET_EXISTED,
	};
	const struct listed_socket *listed;
	const __u32 *listener;

	if (!has_list())
		return 0;
	listed = listed_of(sk);
	/* Of those that listen for connections nothing is to be counted. */
	if (!listed || (sk->sk_protocol == IPPROTO_TCP && !sk->__sk_common.skc_dport))
		return 0;
	tracked.bytes_sent = listed->bytes_sent;
	tracked.bytes_received = listed->bytes_received;
	tracked.segments_sent = listed->segments_sent;
	tracked.segments_received = listed->segments_received;
	tracked.retransmits = listed->retransmits;
	tracked.counted_in = listed->counted_in;
	hold_as_listed(&tracked, listed);
	if (sk->sk_protocol == IPPROTO_TCP) {
		listener = listener_of(
			sk, bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport)));
		tracked.role = listener ? ROLE_PASSIVE : ROLE_ACTIVE;
		if (listener && !tracked.holder_since) {
			tracked.process = *listener;
			tracked.role = ROLE_LISTENER;
		}
		if (!tracked.holder_since && !BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
			tracked.flags |= SOCKET_UNHELD;
	}
	return bpf_sk_storage_get(&sockets, sk, &tracked, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void forget_listed(const struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;

	bpf_map_delete_elem(&listed_sockets, &cookie);
}

#endif
