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

/* A socket knows it in eighths of a microsecond (include/linux/tcp.h). */
static __always_inline void add_rtt(struct flow_counters *more, __u32 srtt_us)
{
	__u32 rtt = srtt_us >> 3;

	more->rtt_sum_us = rtt;
	more->rtt_samples = rtt != 0;
}

static __always_inline void advance_traffic(struct tracked_socket *tracked,
					    const struct tcp_sock *tcp, struct flow_counters *more)
{
	more->bytes_sent = advance___u64(&tracked->bytes_sent, bytes_sent(tcp));
	more->bytes_received = advance___u64(&tracked->bytes_received, bytes_received(tcp));
	more->segments_sent = advance___u32(&tracked->segments_sent, tcp->segs_out);
	more->segments_received = advance___u32(&tracked->segments_received, tcp->segs_in);
	more->retransmits = advance___u32(&tracked->retransmits, tcp->total_retrans);
	add_rtt(more, tcp->srtt_us);
}

/* Counts a connection as such, once in each epoch. */
static __always_inline void count_connection(struct tracked_socket *tracked,
					     struct flow_counters *more, __u32 epoch)
{
	__u32 before = __sync_lock_test_and_set(&tracked->counted_in, epoch);

	more->connections = before != epoch;
	more->opened = !before;
}

/*
 * Whether an attempt did not become a connection: the peer never answered, whose acknowledgement of
 * the SYN counts as one byte. A peer that takes a connection and resets it before it sends anything
 * refuses it too.
 */
static __always_inline bool is_failure(const struct tcp_sock *tcp, __u8 role, bool was_counted,
				       int error)
{
	if (role != ROLE_ACTIVE || was_counted)
		return false;
	return !tcp->bytes_acked || (error == ECONNRESET && !bytes_received(tcp));
}

static __always_inline enum failure failure_of_attempt(int error, const struct tcp_sock *tcp)
{
	/* There was no route, or none that may be taken. */
	if (!error && !tcp->segs_out)
		return FAILURE_UNREACHABLE;
	return failure_of(error);
}

static __always_inline void count_failure(struct flow_counters *more, const struct tcp_sock *tcp,
					  int error)
{
	more->failed[failure_of_attempt(error, tcp)] = 1;
	more->segments_sent = tcp->segs_out;
	more->segments_received = tcp->segs_in;
	more->retransmits = tcp->total_retrans;
}

/* Whose an end of a connection is. */
static __always_inline void fill_owner(struct flow_key *key, __u32 process, __u8 role)
{
	key->process = process;
	key->protocol = IPPROTO_TCP;
	if (role != ROLE_ACTIVE)
		key->flags = FLOW_PASSIVE | (role == ROLE_LISTENER ? FLOW_BY_LISTENER : 0);
}

static __always_inline void fill_ends(struct flow_key *key, const struct sock *sk, __u8 role,
				      __u16 local_port)
{
	local_address(key->local_address, sk);
	peer_address(key->peer_address, sk);
	key->network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	key->service_port =
		role == ROLE_ACTIVE ? bpf_ntohs(sk->__sk_common.skc_dport) : local_port;
}

/* The kernel forgets the peer of an attempt that fails at once. */
static __always_inline void fill_forgotten_peer(struct flow_key *key, __u16 port,
						const __u8 *address)
{
	if (key->service_port || key->flags & FLOW_PASSIVE)
		return;
	key->service_port = port;
	__builtin_memcpy(key->peer_address, address, ADDRESS_LENGTH);
}

static __always_inline struct tracked_socket *track(void *sk)
{
	return bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * A connection has ended, or an attempt has failed. Several programs may say so of the same one: it
 * counts once.
 */
static __always_inline void end_connection(struct sock *sk, struct connection *connection,
					   int error, __u64 marks)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	__u32 epoch;
	__u64 state;

	if (!tcp)
		return;
	state = __sync_fetch_and_or(&connection->state, marks);
	if (state & CONNECTION_ENDED)
		return;
	epoch = current_epoch();
	fill_owner(&key, connection->process, connection->role);
	fill_ends(&key, sk, connection->role, local_port(tcp));
	fill_forgotten_peer(&key, connection->peer_port, connection->peer_address);
	if (is_failure(tcp, connection->role, state & CONNECTION_COUNTED, error)) {
		count_failure(&more, tcp, error);
	} else {
		struct counted now = {
			.bytes_sent = bytes_sent(tcp),
			.bytes_received = bytes_received(tcp),
			.segments_sent = tcp->segs_out,
			.segments_received = tcp->segs_in,
			.retransmits = tcp->total_retrans,
			.epoch = epoch,
		};

		difference(&now, connection, state, &more);
		add_rtt(&more, tcp->srtt_us);
	}
	add_to_flow(&key, &more, epoch);
}

/*
 * The peer may reset a connection at the moment in which somebody begins to work with it. Whoever
 * comes first to what is tracked of the socket then says where it is counted.
 */
static __always_inline bool is_settled(struct tracked_socket *tracked, __u32 as)
{
	return __sync_val_compare_and_swap(&tracked->counted_in, 0, as) != 0;
}

/* An accepted connection has ended that nobody ever worked with: it is who listened that had it. */
static __always_inline struct tracked_socket *track_unclaimed(struct sock *sk,
							      const struct tcp_sock *tcp)
{
	struct tracked_socket *tracked;
	__u32 phase = current_phase();
	const __u32 *listener;

	if (phase != PHASE_FOUND_ALL && phase != PHASE_FOUND_SOME)
		return 0;
	listener = listener_of(sk, local_port(tcp));
	if (!listener)
		return 0;
	tracked = track(sk);
	if (tracked) {
		tracked->process = *listener;
		tracked->role = ROLE_LISTENER;
	}
	return tracked;
}

/* The same of what is not in the table of connections; returns whether anything is known of it. */
static __noinline bool end_elsewhere(struct sock *sk, int error)
{
	struct tracked_socket *tracked = tracked_of(sk);
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct flow_counters more = { .sightings = 1 };
	__u32 epoch = current_epoch();
	struct connection *connection;
	struct flow_key key = {};
	bool is_new;

	if (!tcp)
		return true;
	if (!tracked)
		tracked = take_over(sk);
	is_new = !tracked;
	if (!tracked) {
		/* One that never had a peer is none. */
		if (!sk->__sk_common.skc_dport)
			return true;
		tracked = track_unclaimed(sk, tcp);
		if (!tracked)
			return false;
		if (is_settled(tracked, epoch)) {
			tracked->role = ROLE_NONE;
			connection = connection_of(sk);
			if (connection)
				end_connection(sk, connection, error, CONNECTION_ENDED);
			return true;
		}
		/* It may have been entered since it was looked for. */
		connection = connection_of(sk);
		if (connection)
			__sync_fetch_and_or(&connection->state, CONNECTION_ENDED);
		more.connections = 1;
		more.opened = 1;
	}
	if (tracked->role == ROLE_NONE ||
	    (tracked->role == ROLE_LISTENER && !sk->__sk_common.skc_dport))
		return true;
	fill_owner(&key, tracked->process, tracked->role);
	fill_ends(&key, sk, tracked->role, local_port(tcp));
	fill_forgotten_peer(&key, tracked->peer_port, tracked->peer_address);
	if (is_failure(tcp, tracked->role, tracked->counted_in, error)) {
		count_failure(&more, tcp, error);
	} else {
		if (!is_new)
			count_connection(tracked, &more, epoch);
		advance_traffic(tracked, tcp, &more);
	}
	tracked->role = ROLE_NONE;
	if (tracked->flags & SOCKET_EXISTED)
		forget_listed(sk);
	add_to_flow(&key, &more, epoch);
	return true;
}

/* Its socket lives on. */
static __always_inline void ended(struct sock *sk, int error)
{
	struct connection *connection = connection_of(sk);

	if (connection)
		end_connection(sk, connection, error, CONNECTION_ENDED);
	else
		end_elsewhere(sk, error);
}

/*
 * The kernel leaves a program out that an interrupt calls while it runs on the same processor. So
 * there are two of them at the same place, of which the second one does what the first one was
 * kept from. While the first one runs, the second one does not, so it is not kept from it too.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(observe_end, struct sock *sk)
{
	struct connection *connection = connection_of(sk);

	if (connection)
		end_connection(sk, connection, 0, CONNECTION_ENDED | CONNECTION_GONE);
	else if (is_wanted(sk) && !end_elsewhere(sk, 0))
		lose(COUNT_UNTRACKED);
	return 0;
}

/*
 * What the first one leaves in the table tells that it was there. If it is this one that is kept
 * from its work, the place stays taken until its address is that of another connection.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(observe_end_again, struct sock *sk)
{
	struct connection *connection = place_of_socket(sk);

	if (connection) {
		__u64 state = *(volatile __u64 *)&connection->state;

		if (is_of(state, sk->__sk_common.skc_cookie.counter)) {
			if (!(state & CONNECTION_GONE))
				end_connection(sk, connection, 0,
					       CONNECTION_ENDED | CONNECTION_GONE);
			*(volatile __u64 *)&connection->state = 0;
			return 0;
		}
	}
	if (is_wanted(sk))
		end_elsewhere(sk, 0);
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
	if (has_failed(sk) && is_wanted(sk))
		ended(sk, sk->sk_err);
	return 0;
}

/* A program that breaks its connection off makes the kernel forget what was sent over it. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(observe_reset, struct sock *sk)
{
	/* A segment that no socket waits for is answered so too. */
	if (sk && sk->__sk_common.skc_state == TCP_CLOSE && sk->sk_protocol == IPPROTO_TCP &&
	    is_wanted(sk))
		ended(sk, 0);
	return 0;
}

#endif
