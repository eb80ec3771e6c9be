/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * UDP. A socket says nothing of its traffic, so each datagram is counted when a process sends or
 * takes it.
 */
#ifndef NETGLASS_STREAM_UDP_H
#define NETGLASS_STREAM_UDP_H

/*
 * A pause after which datagrams between the same two endpoints are another conversation; as
 * nf_conntrack_udp_timeout.
 */
#define CONVERSATION_PAUSE_NS (30ULL * 1000000000)

struct datagram {
	__u8 peer_address[ADDRESS_LENGTH];
	__u16 peer_port;
	bool is_received;
	bool has_peer;
};

/*
 * A program that chose its port offers something there, unless it is itself the one that speaks
 * first. Any other port is a client's.
 */
static __always_inline __u8 role_of(const struct sock *sk, bool is_received)
{
	return is_port_bound(sk) && is_received ? ROLE_PASSIVE : ROLE_ACTIVE;
}

/* The peer of an unconnected socket, or where a connected one sends this time. */
static __always_inline void noted_address(struct sock *sk, struct datagram *datagram,
					  struct flow_key *key)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct datagram_address *noted = bpf_map_lookup_elem(&datagram_addresses, &thread);

	if (!noted)
		return;
	if (noted->socket_cookie == bpf_get_socket_cookie(sk)) {
		__builtin_memcpy(datagram->peer_address, noted->peer_address, ADDRESS_LENGTH);
		datagram->peer_port = noted->peer_port;
		datagram->has_peer = true;
		if (*(__u64 *)&noted->local_address[8])
			__builtin_memcpy(key->local_address, noted->local_address, ADDRESS_LENGTH);
	}
	bpf_map_delete_elem(&datagram_addresses, &thread);
}

/* Finds or begins the conversation that a datagram of an unconnected socket is part of. */
static __noinline int converse(struct sock *sk, const struct datagram *datagram,
			       struct flow_counters *more, __u32 epoch)
{
	struct conversation_key key = { .peer_port = datagram->peer_port };
	__u64 now = bpf_ktime_get_ns();
	struct conversation *known;
	struct conversation begun = {
		.last_ns = now,
		.counted_in = epoch,
		.role = role_of(sk, datagram->is_received),
	};
	__u32 before;

	key.socket_cookie = bpf_get_socket_cookie(sk);
	__builtin_memcpy(key.peer_address, datagram->peer_address, ADDRESS_LENGTH);
	known = bpf_map_lookup_elem(&conversations, &key);
	if (known && now - known->last_ns < CONVERSATION_PAUSE_NS) {
		known->last_ns = now;
		before = __sync_lock_test_and_set(&known->counted_in, epoch);
		more->connections = before != epoch;
		return known->role;
	}
	more->connections = 1;
	more->opened = 1;
	bpf_map_update_elem(&conversations, &key, &begun, BPF_ANY);
	return begun.role;
}

static __always_inline int connected_conversation(struct sock *sk, struct tracked_socket *tracked,
						  bool is_received, struct flow_counters *more,
						  __u32 epoch)
{
	if (tracked->role != ROLE_ACTIVE && tracked->role != ROLE_PASSIVE)
		tracked->role = role_of(sk, is_received);
	count_connection(tracked, more, epoch);
	return tracked->role;
}

static __noinline int count_datagram(struct sock *sk, int result, bool is_received)
{
	struct datagram datagram = { .is_received = is_received };
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	struct tracked_socket *tracked;
	bool is_connected = sk->__sk_common.skc_state == TCP_ESTABLISHED;
	__u32 epoch = current_epoch();
	int role;

	local_address(key.local_address, sk);
	noted_address(sk, &datagram, &key);
	if (is_connected && (is_received || !datagram.has_peer)) {
		peer_address(datagram.peer_address, sk);
		datagram.peer_port = bpf_ntohs(sk->__sk_common.skc_dport);
		datagram.has_peer = true;
	} else {
		is_connected = false;
	}
	if (result < 0) {
		enum failure failure = failure_of(-result);

		/* Any other error is about the call, and not about the peer. */
		if (failure == FAILURE_OTHER || !datagram.has_peer)
			return 0;
		more.failed[failure] = 1;
	} else if (!datagram.has_peer) {
		lose(COUNT_NO_PEER);
		return 0;
	} else if (is_received) {
		more.segments_received = 1;
		more.bytes_received = result;
	} else {
		more.segments_sent = 1;
		more.bytes_sent = result;
	}
	tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!tracked)
		tracked = take_over(sk);
	if (!tracked)
		tracked = track(sk);
	if (!tracked) {
		lose(COUNT_UNTRACKED);
		return 0;
	}
	key.process = current_process();
	tracked->process = key.process;
	if (is_connected)
		role = connected_conversation(sk, tracked, is_received, &more, epoch);
	else
		role = converse(sk, &datagram, &more, epoch);
	__builtin_memcpy(key.peer_address, datagram.peer_address, ADDRESS_LENGTH);
	key.network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	key.protocol = IPPROTO_UDP;
	if (role == ROLE_ACTIVE) {
		key.service_port = datagram.peer_port;
	} else {
		key.service_port = sk->__sk_common.skc_num;
		key.flags = FLOW_PASSIVE;
	}
	add_to_flow(&key, &more, epoch);
	return 0;
}

/* These two are called for every socket of every family, so they have to be done soon. */
SEC("tp_btf/sock_send_length")
int BPF_PROG(observe_send, struct sock *sk, int result, int flags)
{
	__u16 protocol = sk->sk_protocol;

	if (protocol == IPPROTO_TCP) {
		if (result > 0)
			claim(sk);
	} else if (protocol == IPPROTO_UDP && is_wanted(sk)) {
		count_datagram(sk, result, false);
	}
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(observe_receive, struct sock *sk, int result, int flags)
{
	__u16 protocol = sk->sk_protocol;

	if (protocol == IPPROTO_TCP) {
		if (result > 0)
			claim(sk);
	} else if (protocol == IPPROTO_UDP && !(flags & (MSG_PEEK | MSG_ERRQUEUE)) &&
		   is_wanted(sk)) {
		count_datagram(sk, result, true);
	}
	return 0;
}

#endif
