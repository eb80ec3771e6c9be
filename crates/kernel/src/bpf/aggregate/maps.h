/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the aggregating programs remember. The size of the tables of flows is set when they are loaded.
 */
#ifndef NETGLASS_AGGREGATE_MAPS_H
#define NETGLASS_AGGREGATE_MAPS_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/*
 * Flows are added to one table while the other one is read: a program that found its flow just
 * before the reader takes it out would add to what nobody reads any more.
 */
struct flow_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, struct flow_sums);
};

struct flow_table flows_even SEC(".maps");
struct flow_table flows_odd SEC(".maps");

/*
 * An update of a map of maps returns when every program that ran meanwhile has ended: the reader
 * waits so for those that still add to the table of the epoch before.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} barrier_content SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
	});
} barrier SEC(".maps");

/* By the lowest bit of the epoch and enum count: [0, COUNTS) and [COUNTS, 2 * COUNTS). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* How many flows a table has, by the lowest bit of the epoch. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} filled SEC(".maps");

/* Something is in it when the table in use is to be read at once. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} wakeups SEC(".maps");

/* What tells datagrams apart (RFC 791, 3.2; RFC 8200, 4.5). */
struct datagram {
	__u64 source[2];
	__u64 destination[2];
	__u32 interface;
	__u32 identification;
	__u8 protocol;
	__u8 version;
	__u16 reserved[3];
};

struct datagram_ports {
	__u64 at;
	__u16 source;
	__u16 destination;
	__u32 reserved;
};

/* The ports of datagrams whose first fragment was seen. The oldest ones make way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct datagram);
	__type(value, struct datagram_ports);
} datagrams SEC(".maps");

static __always_inline __u32 current_epoch(void)
{
	__u32 first = 0;
	struct control *set = bpf_map_lookup_elem(&control, &first);

	return set ? *(volatile __u32 *)&set->epoch : 0;
}

static __always_inline void count_many(__u32 epoch, enum count what, __u64 number)
{
	__u32 index = (epoch & 1) * COUNTS + what;
	__u64 *count = bpf_map_lookup_elem(&counts, &index);

	if (count)
		__sync_fetch_and_add(count, number);
}

static __always_inline void count_one(__u32 epoch, enum count what)
{
	count_many(epoch, what, 1);
}

#endif
