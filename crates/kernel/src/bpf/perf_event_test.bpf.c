// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Fills a perf event array, to test who reads it: each run writes the packet that it is given.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

SEC("tc")
int write_packet(struct __sk_buff *skb)
{
	__u8 data[96] = {};

	if (bpf_skb_load_bytes(skb, 0, data, sizeof(data)))
		return 1;
	return bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU, data, sizeof(data)) != 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
