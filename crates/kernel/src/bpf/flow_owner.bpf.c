// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Which process opens which connection, and which uses which UDP socket: told once for each, for the
 * owners of flows whose sockets are gone before anybody looks at them.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "flow_owner.h"
#include "inet.h"
#include "kernel_types.h"
#include "stream/records.h"

#include "flow_owner/maps.h"

#include "stream/process.h"

static __always_inline bool is_of_ip(const struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_wanted(const struct sock *sk)
{
	return !wanted_namespace || sk->__sk_common.skc_net.net->ns.inum == wanted_namespace;
}

static __always_inline void write_address(__u8 *to, __be32 v4, const struct in6_addr *v6,
					  __u16 family)
{
	__u32 *words = (__u32 *)to;

	if (family == AF_INET) {
		words[0] = 0;
		words[1] = 0;
		words[2] = bpf_htonl(0xffff);
		words[3] = v4;
		return;
	}
	for (int word = 0; word < 4; word++)
		words[word] = v6->in6_u.u6_addr32[word];
}

/* Tells that a process holds a socket. */
static __noinline int tell_of_socket(struct sock *sk, __u32 process, __u64 opened)
{
	struct socket_sighting *sighting;
	__u16 family;

	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	sighting = bpf_ringbuf_reserve(&sightings, sizeof(*sighting), 0);
	if (!sighting) {
		count_one(0, COUNT_LOST);
		return 0;
	}
	write_address(sighting->local_address, sk->__sk_common.skc_rcv_saddr,
		      &sk->__sk_common.skc_v6_rcv_saddr, family);
	write_address(sighting->peer_address, sk->__sk_common.skc_daddr,
		      &sk->__sk_common.skc_v6_daddr, family);
	sighting->network_namespace = sk->__sk_common.skc_net.net->ns.inum;
	sighting->process = process;
	sighting->opened = opened;
	sighting->at = bpf_ktime_get_boot_ns();
	/* Also of a connection that has been closed already. */
	sighting->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	sighting->peer_port = bpf_ntohs(sk->__sk_common.skc_dport);
	sighting->protocol = sk->sk_protocol;
	sighting->has_peer = sk->sk_protocol == IPPROTO_TCP ||
			     sk->__sk_common.skc_state == TCP_ESTABLISHED;
	sighting->only_v6 = family == AF_INET6 && BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_ipv6only);
	sighting->reserved = 0;
	bpf_ringbuf_submit(sighting, BPF_RB_NO_WAKEUP);
	return 0;
}

/*
 * A connection has its own port only after its state has changed, and is told of when the attempt is
 * over, which may be in any context.
 */
SEC("tp_btf/inet_sock_set_state")
int note_connection(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int before = ctx[1], after = ctx[2];
	struct attempt attempt = {}, *begun;
	__u64 address = (__u64)sk;

	if (sk->sk_protocol != IPPROTO_TCP || !is_of_ip(sk) || !is_wanted(sk))
		return 0;
	if (after == TCP_SYN_SENT) {
		attempt.process = current_process();
		attempt.opened = bpf_ktime_get_boot_ns();
		if (attempt.process)
			bpf_map_update_elem(&attempts, &address, &attempt, BPF_ANY);
		return 0;
	}
	if (before != TCP_SYN_SENT)
		return 0;
	begun = bpf_map_lookup_elem(&attempts, &address);
	if (!begun)
		return 0;
	tell_of_socket(sk, begun->process, begun->opened);
	bpf_map_delete_elem(&attempts, &address);
	return 0;
}

/* Once for each process that uses a socket, and for each peer that it connects it to. */
static __always_inline void note_datagram(struct sock *sk)
{
	struct used_socket *used;
	__u32 process, peer;

	if (sk->sk_protocol != IPPROTO_UDP || !is_of_ip(sk) || !is_wanted(sk))
		return;
	used = bpf_sk_storage_get(&used_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!used)
		return;
	process = current_process();
	/* 0 where it has none. */
	peer = sk->__sk_common.skc_state == TCP_ESTABLISHED ? 1 + sk->__sk_common.skc_dport : 0;
	if (!process || (used->process == process && used->peer == peer))
		return;
	used->process = process;
	used->peer = peer;
	tell_of_socket(sk, process, 0);
}

SEC("tp_btf/sock_send_length")
int note_send(__u64 *ctx)
{
	note_datagram((struct sock *)ctx[0]);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int note_receive(__u64 *ctx)
{
	note_datagram((struct sock *)ctx[0]);
	return 0;
}

/* Run once by the reader, for whose pid namespace ids are written. */
SEC("iter/task")
int note_reader(struct bpf_iter__task *ctx)
{
	if (!ctx->task)
		level_of_reader = reader_level();
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
