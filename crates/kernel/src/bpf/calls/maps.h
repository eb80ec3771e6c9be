/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs that follow system calls remember. Sizes are set when they are loaded.
 */
#ifndef NETGLASS_CALLS_MAPS_H
#define NETGLASS_CALLS_MAPS_H

const volatile struct call_settings settings SEC(".rodata.settings");
volatile struct call_control control SEC(".data.control");

/* There was no room to tell of a call, so that calls are added up until the reader sets it back. */
__u32 adds_up_since_full SEC(".data.overload");

/* The level of the pid namespace of who reads. */
__u32 level_of_reader;

/*
 * Calls are added to one table while the other one is read: a program that found its sum just before
 * the reader takes it out would add to what nobody reads any more.
 */
struct sum_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	/* A number for its key, which stands in the sum. */
	__type(key, __u64);
	__type(value, struct call_sum);
};

struct sum_table sums_even SEC(".maps");
struct sum_table sums_odd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct comm_key {
	char comm[COMM_LENGTH];
};

/* Processes by their number as the reader knows them. */
struct number_set {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
};

struct comm_set {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct comm_key);
	__type(value, __u8);
};

struct number_set selected_pids SEC(".maps");
struct number_set other_pids SEC(".maps");
struct number_set selected_uids SEC(".maps");
struct number_set selected_ports SEC(".maps");
struct comm_set selected_comms SEC(".maps");
struct comm_set other_comms SEC(".maps");

/* Descendants of selected processes, while they live. */
struct number_set followed SEC(".maps");

/* How many buffers of one call are added up; of more the sum is not known. */
#define MAX_VECTORS 16

/* include/uapi/linux/uio.h */
struct user_vector {
	__u64 base;
	__u64 length;
};

/* What a program has no room for on its stack. Programs do not interrupt each other here. */
struct work {
	struct call_extra extra;
	/*
	 * Paths and payload, behind the record. The payload has twice its room, so that no piece that
	 * begins in it leads beyond it.
	 */
	__u8 rest[2 * MAX_PATH + 2 * MAX_PAYLOAD];
	struct user_vector vectors[MAX_VECTORS];
	/* Of a call that is added up and told nobody. */
	struct call_record record;
	/* One that begins. */
	struct call_sum sum;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} work SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *counted = bpf_map_lookup_elem(&counts, &what);

	if (counted)
		(*counted)++;
}

#endif
