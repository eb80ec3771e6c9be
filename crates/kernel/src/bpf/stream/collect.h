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

static __always_inline void look_at_tcp(struct sock *sk, struct tracked_socket *tracked)
{
	struct flow_counters more = { .sightings = 1 };
	struct flow_key key = {};
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u32 epoch = current_epoch();

	if (!tcp)
		return;
	fill_key(&key, sk, tracked, IPPROTO_TCP, local_port(tcp));
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
	fill_key(&key, sk, tracked, IPPROTO_UDP, sk->__sk_common.skc_num);
	add_to_flow(&key, &more, epoch);
}

SEC("iter/bpf_sk_storage_map")
int look_at_living(struct bpf_iter__bpf_sk_storage_map *ctx)
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
		if (tracked->role == ROLE_LISTENER && state == TCP_LISTEN)
			return write_listener(seq, sk, protocol, tracked);
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

#endif
