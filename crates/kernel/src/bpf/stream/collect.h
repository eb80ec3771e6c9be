/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The sockets that live, once in each interval: what connections did since the last look is added
 * to their flows, and who listens is written for the reader.
 */
#ifndef NETGLASS_STREAM_COLLECT_H
#define NETGLASS_STREAM_COLLECT_H

static __always_inline int write_listener(struct seq_file *seq, struct sock *sk, __u16 protocol,
					  const struct tracked_socket *tracked)
{
	struct listener_record record = { .process = tracked->process, .protocol = protocol };

	local_address(record.local_address, sk);
	record.network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	if (protocol == IPPROTO_TCP || is_port_bound(sk))
		record.port = sk->__sk_common.skc_num;
	bpf_seq_write(seq, &record, sizeof(record));
	return 0;
}

static __noinline void look_at_tcp(struct sock *sk, struct tracked_socket *tracked)
{
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u32 epoch = current_epoch();

	if (!tcp)
		return;
	fill_owner(&key, tracked->process, tracked->role);
	fill_ends(&key, sk, tracked->role, local_port(tcp));
	count_connection(tracked, &more, epoch);
	advance_traffic(tracked, tcp, &more);
	add_to_flow(&key, &more, epoch);
}

static __always_inline void look_at_udp(struct sock *sk, struct tracked_socket *tracked)
{
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	__u32 epoch = current_epoch();

	/* Who serves whom is told by the first datagram, if the program chose the port. */
	if (tracked->role == ROLE_NONE) {
		if (is_port_bound(sk))
			return;
		tracked->role = ROLE_ACTIVE;
	}
	count_connection(tracked, &more, epoch);
	if (!more.connections)
		return;
	fill_owner(&key, tracked->process, tracked->role);
	fill_ends(&key, sk, tracked->role, sk->__sk_common.skc_num);
	key.protocol = IPPROTO_UDP;
	add_to_flow(&key, &more, epoch);
}

SEC("iter/bpf_sk_storage_map")
int look_at_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock *sk = ctx->sk;
	struct tracked_socket *tracked;
	__u16 protocol;
	__u8 state;

	if (!sk) {
		level_of_reader = reader_level();
		return 0;
	}
	tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!tracked || !is_wanted(sk))
		return 0;
	protocol = sk->sk_protocol;
	state = sk->__sk_common.skc_state;
	if (protocol == IPPROTO_TCP) {
		if (tracked->role == ROLE_LISTENER && state == TCP_LISTEN) {
			/* It stays among those that were used of late. */
			note_listening(sk, tracked->process);
			return write_listener(seq, sk, protocol, tracked);
		}
		if (tracked->role != ROLE_NONE && has_peer(state))
			look_at_tcp(sk, tracked);
	} else if (protocol == IPPROTO_UDP) {
		if (state == TCP_ESTABLISHED)
			look_at_udp(sk, tracked);
		else if (state == TCP_CLOSE && sk->__sk_common.skc_num)
			return write_listener(seq, sk, protocol, tracked);
	}
	return 0;
}

/* What a socket did, which may be gone: what is read is worth something only if it is not. */
static __always_inline void read_counted(struct counted *now, struct tcp_sock *tcp)
{
	struct sock *sk = (struct sock *)tcp;

	now->bytes_sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
	now->bytes_received = BPF_CORE_READ(tcp, bytes_received) -
			      ((BPF_CORE_READ(sk, __sk_common.skc_flags) >> SOCK_DONE) & 1);
	now->segments_sent = BPF_CORE_READ(tcp, segs_out);
	now->segments_received = BPF_CORE_READ(tcp, segs_in);
	now->retransmits = BPF_CORE_READ(tcp, total_retrans);
}

static __always_inline void read_ends(struct flow_key *key, struct sock *sk, __u8 role)
{
	read_local(key->local_address, sk);
	read_peer(key->peer_address, sk);
	key->network_namespace = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	key->service_port =
		bpf_ntohs(role == ROLE_ACTIVE ? BPF_CORE_READ(sk, __sk_common.skc_dport)
					      : BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

/*
 * What was counted is written to the place that nobody reads, and becomes true, in one step, if the
 * connection still lasts: then its socket was there while it was read. Otherwise whoever saw its
 * end has counted it all.
 */
SEC("iter/bpf_map_elem")
int look_at_connections(struct bpf_iter__bpf_map_elem *ctx)
{
	struct flow_counters more = { .sightings = 1 };
	struct connection *connection;
	struct counted now = {};
	struct flow_key key = {};
	__u32 *place = ctx->key;
	__u64 state, after;
	struct sock *sk;
	__u32 index;

	if (!place)
		return 0;
	index = *place;
	connection = bpf_map_lookup_elem(&connections, &index);
	if (!connection || !connection->state)
		return 0;
	/* Nothing of what follows is read before. */
	state = __sync_fetch_and_or(&connection->state, 0);
	if (!state || state & (CONNECTION_ENDED | CONNECTION_INCOMPLETE))
		return 0;
	sk = (struct sock *)connection->address;
	if (!is_of(state, BPF_CORE_READ(sk, __sk_common.skc_cookie.counter)))
		return 0;
	if (!has_peer(BPF_CORE_READ(sk, __sk_common.skc_state)))
		return 0;
	now.epoch = current_epoch();
	fill_owner(&key, connection->process, connection->role);
	read_ends(&key, sk, connection->role);
	read_counted(&now, (struct tcp_sock *)sk);
	add_rtt(&more, BPF_CORE_READ((struct tcp_sock *)sk, srtt_us));
	difference(&now, connection, state, &more);
	after = (state ^ CONNECTION_PLACE) | CONNECTION_COUNTED;
	*counted_of(connection, after) = now;
	if (__sync_val_compare_and_swap(&connection->state, state, after) == state)
		add_to_flow(&key, &more, now.epoch);
	return 0;
}

#endif
