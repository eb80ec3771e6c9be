/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The table of the TCP connections that began while we watch. Its places are used again at once, and
 * so are the addresses of sockets. What keeps them apart is the state: it holds the cookie of
 * the socket, which no other one ever gets, and whatever happens to a connection changes it in one
 * step. Who finds the state as it was knows that the connection has not ended meanwhile.
 */
#ifndef NETGLASS_STREAM_CONNECTION_H
#define NETGLASS_STREAM_CONNECTION_H

enum connection_state {
	/* It has ended and was counted, for the last time. */
	CONNECTION_ENDED = 1 << 0,
	/* Its socket too: another one may have its address by now. */
	CONNECTION_GONE = 1 << 1,
	/* It was looked at while it lasted. */
	CONNECTION_COUNTED = 1 << 2,
	/* Which of two places says what was counted. */
	CONNECTION_PLACE = 1 << 3,
	/* It is being written, and nothing of it may be read. */
	CONNECTION_INCOMPLETE = 1 << 4,
};

/* A socket may try to connect several times. */
#define CONNECTION_ATTEMPT (1 << 8)
#define CONNECTION_ATTEMPTS 0xff00
#define CONNECTION_COOKIE_SHIFT 16

/* Whether it is the connection of a socket with this cookie, and not of one that had its address. */
static __always_inline bool is_of(__u64 state, __u64 cookie)
{
	return state && !((state ^ cookie << CONNECTION_COOKIE_SHIFT) >> CONNECTION_COOKIE_SHIFT);
}

/* The only place where the connection of a socket can be: its address tells. */
static __always_inline struct connection *place_of_socket(const struct sock *sk)
{
	__u32 index;

	/* Of a pointer the verifier lets programs have the lower half as a number. */
	asm volatile("%0 = %1" : "=w"(index) : "w"((__u32)(__u64)sk));
	/* As in place_of. The middle of the product depends on all that differs. */
	index = ((__u64)index * 0x9e3779b9 >> 16) & settings.connections_mask;
	return bpf_map_lookup_elem(&connections, &index);
}

static __always_inline struct connection *connection_of(struct sock *sk)
{
	struct connection *connection = place_of_socket(sk);
	__u64 state;

	if (!connection)
		return 0;
	state = *(volatile __u64 *)&connection->state;
	if (state & (CONNECTION_GONE | CONNECTION_INCOMPLETE) ||
	    !is_of(state, sk->__sk_common.skc_cookie.counter))
		return 0;
	return connection;
}

/* What is known of a connection when it begins. */
struct beginning {
	__u64 cookie;
	__u32 process;
	__u8 role;
	__u8 reserved;
	__u16 peer_port;
	__u8 peer_address[ADDRESS_LENGTH];
};

/* Of one that is marked as incomplete. */
static __always_inline void complete(struct connection *connection, struct sock *sk,
				     const struct beginning *beginning)
{
	connection->address = (__u64)sk;
	connection->process = beginning->process;
	connection->role = beginning->role;
	connection->peer_port = beginning->peer_port;
	__builtin_memcpy(connection->peer_address, beginning->peer_address, ADDRESS_LENGTH);
	/* It may have been marked as ended meanwhile. */
	__sync_fetch_and_and(&connection->state, ~(__u64)CONNECTION_INCOMPLETE);
}

/*
 * Enters a connection into the table; -EEXIST if it is there already, any other error if its place is
 * that of another one.
 */
static __always_inline long enter(struct sock *sk, const struct beginning *beginning)
{
	__u64 begun = beginning->cookie << CONNECTION_COOKIE_SHIFT;
	struct connection *place = place_of_socket(sk);
	__u64 state;

	if (!place)
		return -ENOSPC;
	begun |= CONNECTION_INCOMPLETE;
	state = __sync_val_compare_and_swap(&place->state, 0, begun);
	if (state) {
		if (is_of(state, beginning->cookie))
			return -EEXIST;
		/* Was it left behind by a socket that is no more, since this one has its address? */
		if (state & CONNECTION_INCOMPLETE || place->address != (__u64)sk ||
		    __sync_val_compare_and_swap(&place->state, state, begun) != state)
			return -ENOSPC;
	}
	complete(place, sk, beginning);
	return 0;
}

/* Where it says what was counted, if something was. */
static __always_inline struct counted *counted_of(struct connection *connection, __u64 state)
{
	return &connection->counted[state & CONNECTION_PLACE ? 1 : 0];
}

#define SUBTRACT(member, signed_type)                                                              \
	if ((signed_type)(now->member - before->member) > 0)                                       \
		more->member = now->member - before->member;                                       \
	else                                                                                       \
		now->member = before->member

/*
 * What there is now, without what was counted before. What is counted never goes back, although a
 * socket that is disconnected begins anew.
 */
static __always_inline void difference(struct counted *now, struct connection *connection,
				       __u64 state, struct flow_counters *more)
{
	const struct counted *before = counted_of(connection, state);

	if (!(state & CONNECTION_COUNTED)) {
		more->opened = 1;
		more->connections = 1;
		more->bytes_sent = now->bytes_sent;
		more->bytes_received = now->bytes_received;
		more->segments_sent = now->segments_sent;
		more->segments_received = now->segments_received;
		more->retransmits = now->retransmits;
		return;
	}
	more->connections = before->epoch != now->epoch;
	SUBTRACT(bytes_sent, __s64);
	SUBTRACT(bytes_received, __s64);
	SUBTRACT(segments_sent, __s32);
	SUBTRACT(segments_received, __s32);
	SUBTRACT(retransmits, __s32);
}

#undef SUBTRACT

#endif
