/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the program for the owners of flows remembers.
 */
#ifndef NETGLASS_FLOW_OWNER_MAPS_H
#define NETGLASS_FLOW_OWNER_MAPS_H

/* Only sockets of this network namespace are told of; of all where it is 0. */
const volatile __u32 wanted_namespace = 0;

/* Somebody who wants to be connected. */
struct attempt {
	__u64 opened;
	__u32 process;
	__u32 reserved;
};

/* By the address of the socket. The oldest ones make way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct attempt);
} attempts SEC(".maps");

struct used_socket {
	__u32 process;
	__u32 peer;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct used_socket);
} used_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} sightings SEC(".maps");

/* A process that was told of, by its id in the initial pid namespace. */
struct known_process {
	__u64 start_boottime;
	/* Another one after each execve(2). */
	__u64 exec_id;
	__u32 process;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct known_process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} process_records SEC(".maps");

/* How often there was no room to tell. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

#define COUNT_LOST COUNT_PROCESS_BUFFER_FULL

static __always_inline __u32 current_epoch(void)
{
	return 0;
}

static __always_inline void count_one(__u32 epoch, enum count what)
{
	__u32 first = 0;
	__u64 *number = bpf_map_lookup_elem(&lost, &first);

	if (number)
		__sync_fetch_and_add(number, 1);
}

#endif
