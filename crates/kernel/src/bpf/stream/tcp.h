/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * TCP. What a connection did stands in its socket, so it is looked at when it ends, and once in
 * each interval while it lasts; in between there is nothing to do.
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

static __always_inline void fill_key(struct flow_key *key, const struct sock *sk,
				     const struct tracked_socket *tracked, __u8 protocol,
				     __u16 local_port)
{
	local_address(key->local_address, sk);
	peer_address(key->peer_address, sk);
	key->network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	key->process = tracked->process;
	key->protocol = protocol;
	if (tracked->role == ROLE_ACTIVE) {
		key->service_port = bpf_ntohs(sk->__sk_common.skc_dport);
	} else {
		key->service_port = local_port;
		key->flags = FLOW_PASSIVE;
		if (tracked->flags & SOCKET_BY_LISTENER)
			key->flags |= FLOW_BY_LISTENER;
	}
}

/* An attempt is being made, in the context of whoever called connect(2). */
static __always_inline void connecting(struct sock *sk)
{
	struct tracked_socket *tracked;

	tracked = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tracked || tracked->role == ROLE_ACTIVE)
		return;
	if (tracked->role != ROLE_ATTEMPT) {
		/* The socket may have been connected before. */
		__builtin_memset(tracked, 0, sizeof(*tracked));
		if (!BPF_CORE_READ_BITFIELD(sk, sk_kern_sock))
			tracked->process = current_process();
	}
	tracked->role = ROLE_ACTIVE;
}

static __always_inline void listening_begins(struct sock *sk)
{
	struct tracked_socket *tracked;

	tracked = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tracked || tracked->role == ROLE_LISTENER)
		return;
	__builtin_memset(tracked, 0, sizeof(*tracked));
	tracked->role = ROLE_LISTENER;
	if (!BPF_CORE_READ_BITFIELD(sk, sk_kern_sock))
		tracked->process = current_process();
}

/* A passive open got through; whose work it is stands in what was copied from the listener. */
static __always_inline void accepted(struct sock *sk)
{
	struct tracked_socket *tracked;

	tracked = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* An active open that met another one half way comes by here too. */
	if (!tracked || tracked->role == ROLE_ACTIVE || tracked->role == ROLE_PASSIVE)
		return;
	tracked->role = ROLE_PASSIVE;
	tracked->flags = SOCKET_BY_LISTENER;
}

/*
 * The process that works with an accepted connection is the one it belongs to, and not the one
 * that listened, where these are two. Once counted, a connection stays where it was counted.
 */
static __always_inline void claim(struct sock *sk)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	__u32 process;

	if (!tracked || !(tracked->flags & SOCKET_BY_LISTENER) || tracked->counted_in)
		return;
	process = current_process();
	if (!process)
		return;
	tracked->process = process;
	tracked->flags &= ~SOCKET_BY_LISTENER;
}

static __always_inline bool was_never_open(int before)
{
	return before == TCP_SYN_SENT || before == TCP_SYN_RECV;
}

static __always_inline void ended(struct sock *sk, int before)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	struct tcp_sock *tcp;
	__u32 epoch;

	if (before == TCP_LISTEN) {
		if (tracked)
			tracked->role = ROLE_NONE;
		return;
	}
	if (!tracked) {
		lose(COUNT_UNTRACKED);
		return;
	}
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp || tracked->role == ROLE_NONE)
		return;
	if (tracked->role == ROLE_ATTEMPT)
		tracked->role = ROLE_ACTIVE;
	epoch = current_epoch();
	fill_key(&key, sk, tracked, IPPROTO_TCP, local_port(tcp));
	/* A peer that takes a connection and resets it before it sends anything refuses it too. */
	if (was_never_open(before) || (sk->sk_err == ECONNRESET && !tracked->counted_in &&
				       !bytes_received(tcp) && tracked->role == ROLE_ACTIVE)) {
		enum failure failure = failure_of(sk->sk_err);

		/* No local port could be had. */
		if (failure == FAILURE_ABANDONED && !local_port(tcp))
			failure = FAILURE_OTHER;
		more.failed[failure] = 1;
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

static __always_inline bool is_closed_by_process(int before, int after)
{
	return (before == TCP_ESTABLISHED && after == TCP_FIN_WAIT1) ||
	       (before == TCP_CLOSE_WAIT && after == TCP_LAST_ACK);
}

/* Whatever is done here can be done twice, and counts once. */
static __always_inline void observe(struct sock *sk, int before, int after)
{
	if (after == TCP_CLOSE) {
		if (before != TCP_CLOSE)
			ended(sk, before);
	} else if (after == TCP_SYN_SENT) {
		connecting(sk);
	} else if (after == TCP_ESTABLISHED) {
		accepted(sk);
	} else if (after == TCP_LISTEN) {
		listening_begins(sk);
	} else {
		claim(sk);
	}
}

static __always_inline bool concerns_us(const struct sock *sk, int before, int after)
{
	bool is_of_interest = after == TCP_CLOSE || after == TCP_SYN_SENT || after == TCP_LISTEN ||
			      (after == TCP_ESTABLISHED && before == TCP_SYN_RECV) ||
			      is_closed_by_process(before, after);

	return is_of_interest && sk->sk_protocol == IPPROTO_TCP && is_wanted(sk);
}

/*
 * The kernel leaves a program out that an interrupt calls while it runs on the same processor. So
 * there are two of them at the same place, of which the second one does what the first one was
 * kept from. While the first one runs, the second one does not, so it is not kept from it too.
 *
 * Each processor notes the transition that the first one has done, for the second one to find. An
 * interrupt between the two may replace the note; then the second one does what was done already,
 * to no effect.
 */
struct done {
	__u64 sk;
	__u32 before;
	__u32 after;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct done);
} last_done SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(observe_state, struct sock *sk, int before, int after)
{
	struct done *done;
	__u32 first = 0;

	if (!concerns_us(sk, before, after))
		return 0;
	observe(sk, before, after);
	done = bpf_map_lookup_elem(&last_done, &first);
	if (done) {
		done->sk = (__u64)sk;
		done->before = before;
		done->after = after;
	}
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(observe_state_again, struct sock *sk, int before, int after)
{
	struct done *done;
	__u32 first = 0;

	if (!concerns_us(sk, before, after))
		return 0;
	done = bpf_map_lookup_elem(&last_done, &first);
	if (done && done->sk == (__u64)sk && done->before == before && done->after == after)
		done->sk = 0;
	else
		observe(sk, before, after);
	return 0;
}

/*
 * An attempt that ends without a first segment changes no state: there was no route, or no route
 * that may be taken.
 */
static __always_inline void never_left(struct tracked_socket *tracked)
{
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};

	__builtin_memcpy(key.peer_address, tracked->peer_address, ADDRESS_LENGTH);
	if (*(__u32 *)&key.peer_address[8] == bpf_htonl(0xffff))
		map_address(key.local_address, 0);
	key.network_namespace = tracked->network_namespace;
	key.process = tracked->process;
	key.service_port = tracked->peer_port;
	key.protocol = IPPROTO_TCP;
	more.failed[FAILURE_UNREACHABLE] = 1;
	tracked->role = ROLE_NONE;
	add_to_flow(&key, &more, current_epoch());
}

#endif
