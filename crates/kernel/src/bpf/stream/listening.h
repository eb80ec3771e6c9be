/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Who listens where.
 */
#ifndef NETGLASS_STREAM_LISTENING_H
#define NETGLASS_STREAM_LISTENING_H

static __always_inline void read_local(__u8 *to, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map_address(to, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO((struct in6_addr *)to, sk, __sk_common.skc_v6_rcv_saddr);
}

static __always_inline void read_peer(__u8 *to, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map_address(to, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	else
		BPF_CORE_READ_INTO((struct in6_addr *)to, sk, __sk_common.skc_v6_daddr);
}

/* Of a socket that the program may not look into, but copy from. */
static __always_inline void read_listening_key(struct listening_key *key, struct sock *sk)
{
	read_local(key->local_address, sk);
	key->network_namespace = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	key->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	key->protocol = BPF_CORE_READ(sk, sk_protocol);
}

static __noinline void note_listening(struct sock *sk, __u32 process)
{
	struct listening_key key = {};
	__u64 *halves = (__u64 *)key.local_address;

	read_listening_key(&key, sk);
	bpf_map_update_elem(&listening, &key, &process, BPF_ANY);
	/* An IPv6 wildcard takes IPv4 peers too (RFC 3493, section 3.7), unless it says no. */
	if (!halves[0] && !halves[1] && !BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only)) {
		map_address(key.local_address, 0);
		bpf_map_update_elem(&listening, &key, &process, BPF_ANY);
	}
}

/* The process that listens at an endpoint, or for all addresses; null where nobody does. */
static __always_inline const __u32 *listener_at(struct listening_key *key)
{
	__u64 *halves = (__u64 *)key->local_address;
	const __u32 *process = bpf_map_lookup_elem(&listening, key);
	bool is_v4;

	if (process)
		return process;
	is_v4 = !halves[0] && *(__u32 *)&key->local_address[8] == bpf_htonl(0xffff);
	halves[0] = 0;
	halves[1] = 0;
	if (is_v4)
		map_address(key->local_address, 0);
	return bpf_map_lookup_elem(&listening, key);
}

/* The process that listens for the peer of a connection. */
static __always_inline const __u32 *listener_of(const struct sock *sk, __u16 local_port)
{
	struct listening_key key = {
		.network_namespace = sk->__sk_common.skc_net.net->ns.inum,
		.port = local_port,
		.protocol = IPPROTO_TCP,
	};

	local_address(key.local_address, sk);
	return listener_at(&key);
}

#endif
