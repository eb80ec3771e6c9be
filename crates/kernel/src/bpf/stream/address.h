/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What only the calls themselves know: to whom an unconnected socket sends and from whom it takes,
 * that somebody tries to connect, and who binds a port. In the context of whoever calls.
 */
#ifndef NETGLASS_STREAM_ADDRESS_H
#define NETGLASS_STREAM_ADDRESS_H

static __always_inline void note_address(const struct datagram_address *address)
{
	__u64 thread = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&datagram_addresses, &thread, address, BPF_ANY);
}

static __always_inline void read_v6(__u8 *to, const __u32 *words)
{
	for (int word = 0; word < 4; word++)
		((__u32 *)to)[word] = words[word];
}

#define USER_V6(ctx)                                                                               \
	{                                                                                          \
		(ctx)->user_ip6[0], (ctx)->user_ip6[1], (ctx)->user_ip6[2], (ctx)->user_ip6[3]     \
	}

static __always_inline int note_datagram_v4(struct bpf_sock_addr *ctx, bool is_sent)
{
	struct datagram_address noted = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.peer_port = bpf_ntohs(ctx->user_port),
	};

	map_address(noted.peer_address, ctx->user_ip4);
	if (is_sent) {
		__u32 source = ctx->msg_src_ip4;

		if (source)
			map_address(noted.local_address, source);
	}
	note_address(&noted);
	return 1;
}

static __always_inline int note_datagram_v6(struct bpf_sock_addr *ctx, bool is_sent)
{
	struct datagram_address noted = {
		.socket_cookie = bpf_get_socket_cookie(ctx),
		.peer_port = bpf_ntohs(ctx->user_port),
	};
	__u32 peer[] = USER_V6(ctx);

	read_v6(noted.peer_address, peer);
	if (is_sent) {
		__u32 source[] = { ctx->msg_src_ip6[0], ctx->msg_src_ip6[1], ctx->msg_src_ip6[2],
				   ctx->msg_src_ip6[3] };

		read_v6(noted.local_address, source);
	}
	note_address(&noted);
	return 1;
}

SEC("cgroup/sendmsg4")
int note_send_v4(struct bpf_sock_addr *ctx)
{
	return note_datagram_v4(ctx, true);
}

SEC("cgroup/sendmsg6")
int note_send_v6(struct bpf_sock_addr *ctx)
{
	return note_datagram_v6(ctx, true);
}

SEC("cgroup/recvmsg4")
int note_receive_v4(struct bpf_sock_addr *ctx)
{
	return note_datagram_v4(ctx, false);
}

SEC("cgroup/recvmsg6")
int note_receive_v6(struct bpf_sock_addr *ctx)
{
	return note_datagram_v6(ctx, false);
}

/* The namespace of a socket that the program may not look into: it may be copied as bytes. */
static __always_inline __u32 namespace_of(const struct bpf_sock *socket)
{
	__u32 place = bpf_core_field_offset(struct sock, __sk_common.skc_net.net);
	__u64 head[16];

	if (place > sizeof(head) - sizeof(head[0]) ||
	    bpf_probe_read_kernel(head, sizeof(head), socket))
		return 0;
	return BPF_CORE_READ(*(struct net **)((void *)head + place), ns.inum);
}

static __always_inline int connects(struct bpf_sock_addr *ctx, const __u8 *peer)
{
	struct bpf_sock *socket = ctx->sk;
	struct tracked_socket *tracked;
	__u32 protocol = ctx->protocol;

	if (!socket || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return 1;
	if (protocol == IPPROTO_TCP) {
		struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(socket);
		struct beginning attempt = {
			.role = ROLE_ACTIVE,
			.peer_port = bpf_ntohs(ctx->user_port),
		};

		if (!sk || !is_wanted(sk))
			return 1;
		attempt.cookie = bpf_get_socket_cookie(ctx);
		attempt.process = current_process();
		__builtin_memcpy(attempt.peer_address, peer, ADDRESS_LENGTH);
		attempt_connection(sk, &attempt, true);
		return 1;
	}
	if (settings.wanted_namespace && namespace_of(socket) != settings.wanted_namespace)
		return 1;
	tracked = track(socket);
	if (!tracked)
		return 1;
	/* It may have been connected to another peer. */
	tracked->role = ROLE_NONE;
	tracked->flags = 0;
	tracked->counted_in = 0;
	tracked->process = current_process();
	return 1;
}

SEC("cgroup/connect4")
int note_connect_v4(struct bpf_sock_addr *ctx)
{
	__u8 peer[ADDRESS_LENGTH];

	map_address(peer, ctx->user_ip4);
	return connects(ctx, peer);
}

SEC("cgroup/connect6")
int note_connect_v6(struct bpf_sock_addr *ctx)
{
	__u8 peer[ADDRESS_LENGTH];
	__u32 words[] = USER_V6(ctx);

	read_v6(peer, words);
	return connects(ctx, peer);
}

/* Whether a socket that is bound will listen, connect or exchange datagrams is seen later. */
static __always_inline int bound(struct bpf_sock *ctx)
{
	struct tracked_socket *tracked;
	__u32 protocol = ctx->protocol;

	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    (settings.wanted_namespace && namespace_of(ctx) != settings.wanted_namespace))
		return 1;
	tracked = track(ctx);
	if (!tracked)
		return 1;
	tracked->process = current_process();
	if (protocol == IPPROTO_TCP) {
		tracked->role = ROLE_LISTENER;
		note_listening((struct sock *)ctx, tracked->process);
	}
	return 1;
}

SEC("cgroup/post_bind4")
int note_bind_v4(struct bpf_sock *ctx)
{
	return bound(ctx);
}

SEC("cgroup/post_bind6")
int note_bind_v6(struct bpf_sock *ctx)
{
	return bound(ctx);
}

#endif
