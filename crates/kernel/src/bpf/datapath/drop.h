/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Packets that the kernel drops.
 */
#ifndef NETGLASS_DATAPATH_DROP_H
#define NETGLASS_DATAPATH_DROP_H

/* include/uapi/linux/if_arp.h */
#define ARPHRD_ETHER 1
#define ARPHRD_LOOPBACK 772
/* include/net/dst.h */
#define SKB_DST_NOREF 1UL
/* include/uapi/linux/if_packet.h: a copy for this host of what it sent to many. */
#define PACKET_LOOPBACK 5
/* What mac_header is where there is none. */
#define NO_HEADER 0xffff

struct drop {
	struct drop_notify notify;
	struct kernel_facts facts;
	__u8 packet[MAX_CAPTURE];
};

/* Where a drop is put together; no other packet is dropped meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drop);
} drops SEC(".maps");

/*
 * A packet in a queue has other things where its device and its socket would be. A namespace that is
 * one has a loopback device that is its own.
 */
static __always_inline bool is_namespace(struct net *net)
{
	return net && BPF_CORE_READ(net, loopback_dev, nd_net.net) == net;
}

static __always_inline struct net *namespace_of_device(struct net_device *device)
{
	struct net *net = BPF_CORE_READ(device, nd_net.net);

	return is_namespace(net) ? net : NULL;
}

/* The device of a packet; else that of its route, which of what came in is the loopback device. */
static __always_inline struct net_device *device_of(struct sk_buff *skb)
{
	struct net_device *device = skb->dev;
	struct dst_entry *route;

	if (device && namespace_of_device(device))
		return device;
	route = (struct dst_entry *)(skb->_skb_refdst & ~SKB_DST_NOREF);
	device = BPF_CORE_READ(route, dev);
	return device && namespace_of_device(device) ? device : NULL;
}

static __always_inline __u32 interface_of(struct sk_buff *skb, struct net_device *device)
{
	/* What is in a queue of a socket has no device any more. */
	if (skb->skb_iif && (!device || device != skb->dev))
		return skb->skb_iif;
	return device ? BPF_CORE_READ(device, ifindex) : 0;
}

static __always_inline bool is_inet_socket(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return (family == AF_INET || family == AF_INET6) && is_namespace(sk->__sk_common.skc_net.net);
}

/* The cookie of a packet's socket, which is given one if it can be. */
static __always_inline __u64 cookie_of(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct sock *own = socket ? socket->sk : NULL;

	/* A packet's own pointer to it is none by which the kernel gives a cookie. */
	if (own)
		return bpf_get_socket_cookie(own);
	return sk->__sk_common.skc_cookie.counter;
}

/* Fills in the socket. Returns its namespace. */
static __always_inline struct net *describe_socket(struct drop *drop, struct sk_buff *skb,
						   struct sock *receiver)
{
	struct sock *sk;

	if (receiver && is_inet_socket(receiver)) {
		drop->facts.socket_cookie = bpf_get_socket_cookie(receiver);
		drop->facts.socket_end = END_DESTINATION;
		return receiver->__sk_common.skc_net.net;
	}
	sk = skb->sk;
	if (!sk || !is_inet_socket(sk))
		return NULL;
	drop->facts.socket_cookie = cookie_of(sk);
	if (!skb->skb_iif)
		drop->facts.socket_end = END_SOURCE;
	else if (BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type) != PACKET_LOOPBACK)
		drop->facts.socket_end = END_DESTINATION;
	return sk->__sk_common.skc_net.net;
}

/* Where the packet's bytes are that are told. */
static __always_inline bool find_bytes(struct drop *drop, struct sk_buff *skb,
				       struct net_device *device, struct bytes *bytes)
{
	unsigned char *head = skb->head, *data = skb->data, *start;
	__u32 linear = skb->len - skb->data_len;
	__be16 protocol = skb->protocol;
	__u16 type;

	if ((protocol == bpf_htons(ETHERTYPE_IPV4) || protocol == bpf_htons(ETHERTYPE_IPV6)) &&
	    skb->network_header) {
		start = head + skb->network_header;
		drop->notify.flags = FLAG_LAYER3 |
				     (protocol == bpf_htons(ETHERTYPE_IPV6) ? FLAG_IPV6 : 0);
	} else {
		type = BPF_CORE_READ(device, type);
		if (!device || (type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK) ||
		    skb->mac_header == NO_HEADER)
			return false;
		start = head + skb->mac_header;
		drop->notify.flags = 0;
	}
	if (start >= data + linear)
		return false;
	bytes->memory = start;
	bytes->length = data + linear - start;
	drop->notify.original_length = skb->len + (data - start);
	return true;
}

static __always_inline bool is_drop_selected(struct drop *drop, struct bytes *bytes)
{
	struct ends ends = {};

	if (!is_namespace_selected(drop->facts.network_namespace) ||
	    !is_interface_selected(drop->facts.network_namespace, drop->notify.interface))
		return false;
	if (!(settings.flags & SELECT_ENDS))
		return true;
	if (drop->notify.flags & FLAG_LAYER3)
		read_ip(bytes, 0, &ends);
	else
		read_ethernet(bytes, &ends);
	return are_ends_selected(&ends);
}

static __always_inline void tell_drop(void *ctx, struct sk_buff *skb, struct sock *receiver,
				      __u64 location, __u32 reason)
{
	struct bytes bytes = {};
	struct net_device *device;
	struct drop *drop;
	__u32 first = 0, length;
	struct net *net;

	count(COUNT_DROPPED);
	drop = bpf_map_lookup_elem(&drops, &first);
	if (!drop)
		return;
	device = device_of(skb);
	if (!find_bytes(drop, skb, device, &bytes)) {
		count(COUNT_NO_PACKET);
		return;
	}
	__builtin_memset(&drop->facts, 0, sizeof(drop->facts));
	net = describe_socket(drop, skb, receiver);
	if (!net && device)
		net = BPF_CORE_READ(device, nd_net.net);
	if (net)
		drop->facts.network_namespace = BPF_CORE_READ(net, ns.inum);
	drop->notify.interface = interface_of(skb, device);
	if (!is_drop_selected(drop, &bytes)) {
		count(COUNT_FILTERED);
		return;
	}
	length = bytes.length;
	if (length > settings.capture_length)
		length = settings.capture_length;
	/* The verifier does not see a bound through a choice. */
	barrier_var(length);
	if (length > MAX_CAPTURE)
		return;
	bpf_probe_read_kernel(drop->packet, length, bytes.memory);
	drop->notify.type = NOTIFY_DROP;
	drop->notify.reason = REASON_OF_KERNEL;
	drop->notify.hash = skb->hash;
	drop->notify.captured_length = length;
	drop->notify.version = DROP_VERSION;
	drop->notify.extension = EXTENSION;
	drop->facts.length = sizeof(drop->facts);
	drop->facts.at = bpf_ktime_get_boot_ns();
	drop->facts.packet = packet_id(skb);
	drop->facts.location = location;
	drop->facts.reason = reason;
	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, drop,
				  sizeof(drop->notify) + sizeof(drop->facts) + length))
		count(COUNT_LOST);
}

SEC("tp_btf/kfree_skb")
int note_drop(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct sock *receiver = NULL;
	__u32 reason = ctx[2];

	/* It was used up, and is no drop. */
	if (reason <= settings.benign_reason)
		return 0;
	if (settings.flags & HAS_RECEIVER)
		receiver = (struct sock *)ctx[3];
	tell_drop(ctx, skb, receiver, ctx[1], reason);
	return 0;
}

#endif
