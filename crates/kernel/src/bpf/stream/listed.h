/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Connections that were there when we start, where the iterators of existing.h cannot find them. The
 * reader asks the kernel for a list of them (sock_diag), which tells their cookies and what they did
 * before. There is no way from there to a socket, so each is taken over when it is met: when somebody
 * works with it, or when it ends.
 */
#ifndef NETGLASS_STREAM_LISTED_H
#define NETGLASS_STREAM_LISTED_H

static __noinline struct tracked_socket *take_over(struct sock *sk)
{
	struct tracked_socket tracked = {
		.counted_in = EPOCH_BEFORE,
		.role = ROLE_ACTIVE,
		.flags = SOCKET_EXISTED,
	};
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	const struct listed_connection *listed = bpf_map_lookup_elem(&listed_connections, &cookie);
	const __u32 *listener;

	if (!listed)
		return 0;
	tracked.bytes_sent = listed->bytes_sent;
	tracked.bytes_received = listed->bytes_received;
	tracked.segments_sent = listed->segments_sent;
	tracked.segments_received = listed->segments_received;
	tracked.retransmits = listed->retransmits;
	listener = listener_of(sk, bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport)));
	if (listener) {
		tracked.process = *listener;
		tracked.role = ROLE_LISTENER;
	}
	if (!BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
		tracked.flags |= SOCKET_UNHELD;
	return bpf_sk_storage_get(&sockets, sk, &tracked, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void forget_listed(const struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;

	bpf_map_delete_elem(&listed_connections, &cookie);
}

#endif
