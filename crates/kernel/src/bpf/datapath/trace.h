/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Packets that come by an interface.
 */
#ifndef NETGLASS_DATAPATH_TRACE_H
#define NETGLASS_DATAPATH_TRACE_H

/* Programs that come later are run too. */
#define TCX_NEXT -1

void *bpf_cast_to_kern_ctx(void *context) __ksym;

struct trace {
	struct trace_notify notify;
	struct kernel_facts facts;
};

/* What a packet is told by: its address, made unreadable. */
static __always_inline __u64 packet_id(const void *skb)
{
	__u64 address = 0;

	/* Numbers can be made of what is read, but not of pointers. */
	bpf_probe_read_kernel(&address, sizeof(address), &skb);
	return (address ^ settings.packet_key) * 0x9e3779b97f4a7c15ULL;
}

static __always_inline bool is_trace_selected(struct __sk_buff *skb, bool is_ethernet)
{
	struct bytes bytes = { .skb = skb };
	struct ends ends = {};

	if (!(settings.flags & SELECT_ENDS))
		return true;
	if (is_ethernet)
		read_ethernet(&bytes, &ends);
	else
		read_ip(&bytes, 0, &ends);
	return are_ends_selected(&ends);
}

static __always_inline int tell_trace(struct __sk_buff *skb, __u8 point, bool is_ethernet)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u64 length = skb->len;
	struct trace trace = {};

	count(COUNT_SEEN);
	if (!is_trace_selected(skb, is_ethernet)) {
		count(COUNT_FILTERED);
		return TCX_NEXT;
	}
	trace.notify.type = NOTIFY_TRACE;
	trace.notify.observation_point = point;
	trace.notify.hash = skb->hash;
	trace.notify.original_length = length;
	if (length > settings.capture_length)
		length = settings.capture_length;
	trace.notify.captured_length = length;
	trace.notify.version = TRACE_VERSION;
	trace.notify.extension = EXTENSION;
	trace.notify.state = STATE_UNKNOWN;
	if (!is_ethernet)
		trace.notify.flags = FLAG_LAYER3 |
				     (skb->protocol == bpf_htons(ETHERTYPE_IPV6) ? FLAG_IPV6 : 0);
	trace.notify.interface = skb->ifindex;
	trace.facts.length = sizeof(trace.facts);
	trace.facts.network_namespace = kernel->dev->nd_net.net->ns.inum;
	trace.facts.at = bpf_ktime_get_boot_ns();
	trace.facts.socket_cookie = bpf_get_socket_cookie(skb);
	/* What came in and has a socket already was sent from here, or is to go to another one. */
	if (trace.facts.socket_cookie && point == TO_NETWORK && !skb->ingress_ifindex)
		trace.facts.socket_end = END_SOURCE;
	trace.facts.packet = packet_id(kernel);
	if (bpf_perf_event_output(skb, &events, length << 32 | BPF_F_CURRENT_CPU, &trace,
				  sizeof(trace)))
		count(COUNT_LOST);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int ethernet_ingress(struct __sk_buff *skb)
{
	return tell_trace(skb, FROM_NETWORK, true);
}

SEC("tcx/egress")
int ethernet_egress(struct __sk_buff *skb)
{
	return tell_trace(skb, TO_NETWORK, true);
}

SEC("tcx/ingress")
int ip_ingress(struct __sk_buff *skb)
{
	return tell_trace(skb, FROM_NETWORK, false);
}

SEC("tcx/egress")
int ip_egress(struct __sk_buff *skb)
{
	return tell_trace(skb, TO_NETWORK, false);
}

#endif
