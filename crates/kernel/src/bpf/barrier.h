/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How a reader waits for programs that run.
 */
#ifndef NETGLASS_BARRIER_H
#define NETGLASS_BARRIER_H

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

#endif
