/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The table of the TCP connections that began while we watch. Its elements are used again at once,
 * and so are the addresses of sockets. What keeps them apart is the state: it holds the cookie of
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
};

/* A socket may try to connect several times. */
#define CONNECTION_ATTEMPT (1 << 8)
#define CONNECTION_ATTEMPTS 0xff00
#define CONNECTION_COOKIE_SHIFT 16

/* Whether it is the connection of a socket with this cookie, and not of one that had its address. */
static __always_inline bool is_of(__u64 state, __u64 cookie)
{
	return state >> CONNECTION_COOKIE_SHIFT == cookie << CONNECTION_COOKIE_SHIFT >>
						       CONNECTION_COOKIE_SHIFT;
}

static __always_inline struct connection *connection_of(struct sock *sk)
{
	__u64 address = (__u64)sk;
	struct connection *connection = bpf_map_lookup_elem(&connections, &address);
	__u64 state;

	if (!connection)
		return 0;
	state = connection->state;
	if (state & CONNECTION_GONE || !is_of(state, sk->__sk_common.skc_cookie.counter))
		return 0;
	return connection;
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
