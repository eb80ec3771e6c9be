/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the datapath writes to, and what it is set to. Sizes are set when it is loaded.
 */
#ifndef NETGLASS_DATAPATH_MAPS_H
#define NETGLASS_DATAPATH_MAPS_H

const volatile struct datapath_settings settings SEC(".rodata.settings");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
} ports SEC(".maps");

/* Those that are watched. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct interface_key);
	__type(value, __u8);
} interfaces SEC(".maps");

static __always_inline void count(enum count what)
{
	__u32 key = what;
	__u64 *number = bpf_map_lookup_elem(&counts, &key);

	if (number)
		__sync_fetch_and_add(number, 1);
}

#endif
