// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The packets of interfaces, added up in the kernel by conversation: nothing is told of a packet by
 * itself, but for the few that open or close a TCP connection.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "aggregate/records.h"

#include "aggregate/maps.h"

#include "aggregate/count.h"
#include "aggregate/decode.h"

/* Programs that come later are run too. */
#define TCX_NEXT -1

static __noinline int take(struct __sk_buff *skb, bool is_ethernet)
{
	__u32 epoch = current_epoch();

	count_one(epoch, COUNT_SEEN);
	decode(skb, is_ethernet, epoch);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int ethernet_ingress(struct __sk_buff *skb)
{
	return take(skb, true);
}

SEC("tcx/egress")
int ethernet_egress(struct __sk_buff *skb)
{
	return take(skb, true);
}

SEC("tcx/ingress")
int ip_ingress(struct __sk_buff *skb)
{
	return take(skb, false);
}

SEC("tcx/egress")
int ip_egress(struct __sk_buff *skb)
{
	return take(skb, false);
}

char _license[] SEC("license") = "Dual MIT/GPL";
