/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The sockets that are there when we start, with the processes that hold them. An iterator over
 * every open file goes by twice: first for those that listen, then for those with a peer, whose
 * direction the first ones tell.
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

static __always_inline struct tracked_socket *existing(struct sock *sk, struct task_struct *leader)
{
	struct tracked_socket *tracked = bpf_sk_storage_get(&sockets, sk, 0, 0);
	__u64 since = seniority(leader);

	if (!tracked) {
		tracked = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!tracked)
			return 0;
		tracked->flags = SOCKET_EXISTED;
	} else if (!(tracked->flags & SOCKET_EXISTED)) {
		/* It is new: the other programs know more of it. */
		return 0;
	} else if (tracked->holder_since <= since) {
		return tracked;
	}
	tracked->holder_since = since;
	tracked->process = process_of(leader, BPF_CORE_READ(leader, tgid),
				      BPF_CORE_READ(leader, start_boottime),
				      BPF_CORE_READ(leader, self_exec_id), 0);
	return tracked;
}

static __always_inline void read_local(__u8 *to, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map_address(to, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(to, sk, __sk_common.skc_v6_rcv_saddr);
}

static __always_inline void listening_key(struct listening_key *key, struct sock *sk)
{
	read_local(key->local_address, sk);
	key->network_namespace = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	key->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	key->protocol = BPF_CORE_READ(sk, sk_protocol);
}

static __always_inline void note_listening(struct sock *sk)
{
	struct listening_key key = {};
	__u64 *halves = (__u64 *)key.local_address;
	__u8 yes = 1;

	listening_key(&key, sk);
	bpf_map_update_elem(&listening, &key, &yes, BPF_ANY);
	/* An IPv6 wildcard takes IPv4 peers too (RFC 3493, section 3.7), unless it says no. */
	if (!halves[0] && !halves[1] && !BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only)) {
		map_address(key.local_address, 0);
		bpf_map_update_elem(&listening, &key, &yes, BPF_ANY);
	}
}

static __always_inline bool is_listened_for(struct sock *sk)
{
	struct listening_key key = {};
	__u64 *halves = (__u64 *)key.local_address;
	bool is_v4;

	listening_key(&key, sk);
	if (bpf_map_lookup_elem(&listening, &key))
		return true;
	is_v4 = !halves[0] && *(__u32 *)&key.local_address[8] == bpf_htonl(0xffff);
	halves[0] = 0;
	halves[1] = 0;
	if (is_v4)
		map_address(key.local_address, 0);
	return bpf_map_lookup_elem(&listening, &key);
}

static __always_inline void found_connection(struct sock *sk, struct tracked_socket *tracked)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	tracked->counted_in = EPOCH_BEFORE;
	if (tcp) {
		tracked->bytes_sent = bytes_sent(tcp);
		tracked->bytes_received = bytes_received(tcp);
		tracked->segments_sent = tcp->segs_out;
		tracked->segments_received = tcp->segs_in;
		tracked->retransmits = tcp->total_retrans;
	}
	tracked->role = is_listened_for(sk) ? ROLE_PASSIVE : ROLE_ACTIVE;
}

SEC("iter/task_file")
int find_existing(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct task_struct *leader;
	struct tracked_socket *tracked;
	struct control *set;
	struct socket *socket;
	struct sock *sk;
	__u16 family, protocol;
	bool is_listener;
	__u8 state;
	__u32 first = 0;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if ((family != AF_INET && family != AF_INET6) ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return 0;
	if (wanted_namespace &&
	    BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != wanted_namespace)
		return 0;
	set = bpf_map_lookup_elem(&control, &first);
	leader = task->group_leader;
	if (!set || !leader)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	is_listener = state == (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	if (is_listener != (set->phase == PHASE_LISTENERS) ||
	    (!is_listener && !has_peer(state) && state != TCP_SYN_SENT))
		return 0;
	tracked = existing(sk, leader);
	if (!tracked)
		return 0;
	if (is_listener) {
		if (protocol == IPPROTO_TCP)
			tracked->role = ROLE_LISTENER;
		note_listening(sk);
	} else if (tracked->role == ROLE_NONE) {
		if (state == TCP_SYN_SENT)
			tracked->role = ROLE_ACTIVE;
		else
			found_connection(sk, tracked);
	}
	return 0;
}

#endif
