/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * TCP. What a connection did stands in its socket, so it is looked at when it ends, and once in
 * each interval while it lasts; in between there is nothing to do. Following each of its states
 * would cost more than all the rest.
 */
#ifndef NETGLASS_STREAM_TCP_H
#define NETGLASS_STREAM_TCP_H

/*
 * What was counted of a socket is brought forward to what there is now; returns the difference. The
 * end of a connection may interrupt, or run beside, the iterator that looks at the same socket:
 * whoever comes second finds nothing left to count.
 */
#define ADVANCE(type, signed_type)                                                                 \
	static __always_inline type advance_##type(type *counted, type now)                        \
	{                                                                                          \
		for (int attempt = 0; attempt < 2; attempt++) {                                    \
			type before = *(volatile type *)counted;                                   \
                                                                                                   \
			if ((signed_type)(now - before) <= 0)                                      \
				return 0;                                                          \
			if (__sync_val_compare_and_swap(counted, before, now) == before)           \
				return now - before;                                               \
		}                                                                                  \
		return 0;                                                                          \
	}

ADVANCE(__u64, __s64)
ADVANCE(__u32, __s32)

#undef ADVANCE

/* In host byte order. skc_num is given back before a connection ends, this one is not. */
static __always_inline __u16 local_port(const struct tcp_sock *tcp)
{
	return bpf_ntohs(((const struct inet_sock *)tcp)->inet_sport);
}

/* Payload that was sent for the first time. */
static __always_inline __u64 bytes_sent(const struct tcp_sock *tcp)
{
	return tcp->bytes_sent - tcp->bytes_retrans;
}

/* Payload; the kernel counts the peer's FIN as one byte more. */
static __always_inline __u64 bytes_received(const struct tcp_sock *tcp)
{
	const struct sock *sk = (const struct sock *)tcp;

	return tcp->bytes_received - ((sk->__sk_common.skc_flags >> SOCK_DONE) & 1);
}

static __always_inline void advance_traffic(struct tracked_socket *tracked,
					    const struct tcp_sock *tcp, struct flow_counters *more)
{
	/* In eighths of a microsecond (include/linux/tcp.h). */
	__u32 rtt = tcp->srtt_us >> 3;

	more->bytes_sent = advance___u64(&tracked->bytes_sent, bytes_sent(tcp));
	more->bytes_received = advance___u64(&tracked->bytes_received, bytes_received(tcp));
	more->segments_sent = advance___u32(&tracked->segments_sent, tcp->segs_out);
	more->segments_received = advance___u32(&tracked->segments_received, tcp->segs_in);
	more->retransmits = advance___u32(&tracked->retransmits, tcp->total_retrans);
	if (rtt) {
		more->rtt_sum_us = rtt;
		more->rtt_samples = 1;
	}
}

/* Counts a connection as such, once in each epoch. */
static __always_inline void count_connection(struct tracked_socket *tracked,
					     struct flow_counters *more, __u32 epoch)
{
	__u32 before = __sync_lock_test_and_set(&tracked->counted_in, epoch);

	more->connections = before != epoch;
	more->opened = !before;
}

/* Whether the peer ever answered: its acknowledgement of the SYN counts as one byte. */
static __always_inline bool was_open(const struct tcp_sock *tcp, const struct tracked_socket *tracked)
{
	return tcp->bytes_acked || tracked->counted_in || tracked->role != ROLE_ACTIVE;
}

static __always_inline void fill_key(struct flow_key *key, const struct sock *sk,
				     const struct tracked_socket *tracked, __u8 protocol,
				     __u16 local_port)
{
	__u16 peer_port = bpf_ntohs(sk->__sk_common.skc_dport);

	local_address(key->local_address, sk);
	peer_address(key->peer_address, sk);
	key->network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	key->process = tracked->process;
	key->protocol = protocol;
	if (tracked->role == ROLE_ACTIVE) {
		key->service_port = peer_port;
		/* The kernel forgets the peer of an attempt that fails at once. */
		if (!peer_port) {
			key->service_port = tracked->peer_port;
			__builtin_memcpy(key->peer_address, tracked->peer_address, ADDRESS_LENGTH);
		}
	} else {
		key->service_port = local_port;
		key->flags = FLOW_PASSIVE;
		if (tracked->role == ROLE_LISTENER)
			key->flags |= FLOW_BY_LISTENER;
	}
}

static __always_inline struct tracked_socket *track(void *sk)
{
	return bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * The process that works with an accepted connection is the one it belongs to, and not the one
 * that listened, where these are two. Nor is it known of what was there before us and nobody was
 * seen to hold. Once counted, a connection stays where it was counted.
 *
 * A connection of which nothing is known is none that was accepted while we watch: it was there,
 * and the iterators over what was there have not come by it yet.
 */
static __always_inline void claim(struct sock *sk)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	__u32 process;

	if (!tracked || (tracked->role != ROLE_LISTENER && !(tracked->flags & SOCKET_UNHELD)))
		return;
	if ((tracked->counted_in && tracked->counted_in != EPOCH_BEFORE) || !is_wanted(sk))
		return;
	process = current_process();
	if (!process)
		return;
	tracked->process = process;
	tracked->flags &= ~SOCKET_UNHELD;
	if (tracked->role == ROLE_LISTENER)
		tracked->role = ROLE_PASSIVE;
}

static __always_inline enum failure failure_of_attempt(int error, const struct tcp_sock *tcp)
{
	/* There was no route, or none that may be taken. */
	if (!error && !tcp->segs_out)
		return FAILURE_UNREACHABLE;
	return failure_of(error);
}

/*
 * A connection has ended, or an attempt has failed. Several programs may say so of the same one: it
 * counts once.
 */
static __always_inline void ended(struct sock *sk, int error)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	struct tcp_sock *tcp;
	__u32 epoch;

	if (!tracked) {
		/* One that never had a peer is none. */
		if (sk->__sk_common.skc_dport)
			lose(COUNT_UNTRACKED);
		return;
	}
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp || tracked->role == ROLE_NONE ||
	    (tracked->role == ROLE_LISTENER && !sk->__sk_common.skc_dport))
		return;
	epoch = current_epoch();
	fill_key(&key, sk, tracked, IPPROTO_TCP, local_port(tcp));
	/* A peer that takes a connection and resets it before it sends anything refuses it too. */
	if (!was_open(tcp, tracked) ||
	    (error == ECONNRESET && !tracked->counted_in && !bytes_received(tcp) &&
	     tracked->role == ROLE_ACTIVE)) {
		more.failed[failure_of_attempt(error, tcp)] = 1;
		more.segments_sent = tcp->segs_out;
		more.segments_received = tcp->segs_in;
		more.retransmits = tcp->total_retrans;
	} else {
		count_connection(tracked, &more, epoch);
		advance_traffic(tracked, tcp, &more);
	}
	tracked->role = ROLE_NONE;
	add_to_flow(&key, &more, epoch);
}

static __always_inline bool is_followed(struct sock *sk)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);

	return tracked && tracked->role != ROLE_NONE;
}

/*
 * The kernel leaves a program out that an interrupt calls while it runs on the same processor. So
 * there are two of them at the same place, of which the second one does what the first one was
 * kept from. While the first one runs, the second one does not, so it is not kept from it too.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(observe_end, struct sock *sk)
{
	if (is_wanted(sk))
		ended(sk, 0);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(observe_end_again, struct sock *sk)
{
	if (is_followed(sk) && is_wanted(sk))
		ended(sk, 0);
	return 0;
}

static __always_inline bool has_failed(const struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP && sk->__sk_common.skc_state == TCP_CLOSE;
}

/* Here the reason is known, of which the program that is told of it leaves no trace. */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(observe_error, struct sock *sk)
{
	if (has_failed(sk) && is_wanted(sk))
		ended(sk, sk->sk_err);
	return 0;
}

SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(observe_error_again, struct sock *sk)
{
	if (has_failed(sk) && is_followed(sk) && is_wanted(sk))
		ended(sk, sk->sk_err);
	return 0;
}

/* A program that breaks its connection off makes the kernel forget what was sent over it. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(observe_reset, struct sock *sk)
{
	struct tracked_socket *tracked;

	/* A segment that no socket waits for is answered so too. */
	if (!sk || sk->__sk_common.skc_state != TCP_CLOSE || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (tracked && is_wanted(sk))
		ended(sk, 0);
	return 0;
}

/* An attempt begins, in the context of whoever called connect(2). */
static __always_inline void connecting(struct tracked_socket *tracked, const __u8 *peer, __u16 port)
{
	/* The socket may have been connected before. */
	__builtin_memset(tracked, 0, sizeof(*tracked));
	tracked->process = current_process();
	tracked->peer_port = port;
	if (peer)
		__builtin_memcpy(tracked->peer_address, peer, ADDRESS_LENGTH);
	tracked->role = ROLE_ACTIVE;
}

/*
 * Who connects and who listens, where cgroup/connect and cgroup/post_bind cannot tell. Both are
 * calls of a process, which no interrupt makes while this runs.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(observe_state, struct sock *sk, int before, int after)
{
	struct tracked_socket *tracked;

	if ((after != TCP_SYN_SENT && after != TCP_LISTEN) || sk->sk_protocol != IPPROTO_TCP ||
	    !is_wanted(sk))
		return 0;
	tracked = track(sk);
	if (!tracked)
		return 0;
	connecting(tracked, 0, 0);
	if (after == TCP_LISTEN)
		tracked->role = ROLE_LISTENER;
	return 0;
}

#endif
