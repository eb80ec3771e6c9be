/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The sockets that are there when we start. An iterator over every open file finds those that
 * processes hold, and who these are; but it goes through the pid namespace of the reader alone.
 * What else there is, not yet accepted for one, the iterators over the sockets of one network
 * namespace find. They go by twice: first for those that listen, then for those with a peer, whose
 * direction the first ones tell. Where the first iterator is missing, what /proc tells of holders
 * was left in a list before (listed.h).
 */
#ifndef NETGLASS_STREAM_EXISTING_H
#define NETGLASS_STREAM_EXISTING_H

/*
 * Of several holders the oldest owns a socket: it made it, and the others inherited it. But the
 * init process keeps sockets for the services that it starts.
 */
static __always_inline __u64 seniority(struct task_struct *leader)
{
	__u64 start = BPF_CORE_READ(leader, start_boottime);

	return BPF_CORE_READ(leader, tgid) == 1 ? ~0ULL : start;
}

static __always_inline void hold(struct tracked_socket *tracked, struct task_struct *leader)
{
	__u64 since = seniority(leader);

	if (tracked->holder_since && tracked->holder_since <= since)
		return;
	tracked->holder_since = since;
	tracked->process = process_of(leader, BPF_CORE_READ(leader, tgid),
				      BPF_CORE_READ(leader, start_boottime),
				      BPF_CORE_READ(leader, self_exec_id), 0);
}

static __always_inline struct tracked_socket *existing(struct sock *sk, struct task_struct *leader)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);

	if (!tracked) {
		/* The other programs know more of it. */
		if (connection_of(sk))
			return 0;
		tracked = track(sk);
		if (!tracked)
			return 0;
		tracked->flags = SOCKET_EXISTED;
	} else if (!(tracked->flags & SOCKET_EXISTED)) {
		/* It is new. */
		return 0;
	}
	if (leader)
		hold(tracked, leader);
	else
		hold_as_listed(tracked, listed_of(sk));
	return tracked;
}

static __always_inline void found_connection(struct sock *sk, struct tracked_socket *tracked)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct listening_key key = {};
	const __u32 *listener;

	read_listening_key(&key, sk);
	listener = listener_at(&key);
	tracked->counted_in = EPOCH_BEFORE;
	tracked->role = listener ? ROLE_PASSIVE : ROLE_ACTIVE;
	if (!tcp)
		return;
	tracked->bytes_sent = bytes_sent(tcp);
	tracked->bytes_received = bytes_received(tcp);
	tracked->segments_sent = tcp->segs_out;
	tracked->segments_received = tcp->segs_in;
	tracked->retransmits = tcp->total_retrans;
	/* Most likely it is not accepted yet. */
	if (listener && !tracked->holder_since) {
		tracked->process = *listener;
		tracked->role = ROLE_LISTENER;
	}
}

/* A socket that is there, with the process that holds it, or without. */
static __always_inline void found(struct sock *sk, struct task_struct *leader)
{
	__u16 protocol = BPF_CORE_READ(sk, sk_protocol);
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	bool is_listener = state == (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	struct tracked_socket *tracked;
	__u32 phase = current_phase();

	if (settings.wanted_namespace &&
	    BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != settings.wanted_namespace)
		return;
	if (is_listener != (phase == PHASE_LISTENERS) ||
	    (!is_listener && !has_peer(state) && state != TCP_SYN_SENT))
		return;
	tracked = existing(sk, leader);
	if (!tracked)
		return;
	if (is_listener) {
		if (protocol == IPPROTO_TCP)
			tracked->role = ROLE_LISTENER;
		note_listening(sk, tracked->process);
	} else if (tracked->role == ROLE_NONE) {
		/* The kernel uses its own sockets in the context of any process. */
		if (!tracked->holder_since && !BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
			tracked->flags |= SOCKET_UNHELD;
		if (state == TCP_SYN_SENT)
			tracked->role = ROLE_ACTIVE;
		else
			found_connection(sk, tracked);
	}
}

SEC("iter/task_file")
int find_existing(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct task_struct *leader;
	struct socket *socket;
	struct sock *sk;
	__u16 family, protocol;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	leader = task->group_leader;
	if (!sk || !leader)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if ((family == AF_INET || family == AF_INET6) &&
	    (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP))
		found(sk, leader);
	return 0;
}

SEC("iter/tcp")
int find_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;

	/* What only waits for its time to pass, or is a mere request, is no whole socket. */
	if (common && bpf_skc_to_tcp_sock(common))
		found((struct sock *)common, 0);
	return 0;
}

SEC("iter/udp")
int find_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;

	if (udp)
		found((struct sock *)udp, 0);
	return 0;
}

#endif
