/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the streaming programs and src/stream/ share. The tests of src/stream/record.rs check the
 * same sizes.
 */
#ifndef NETGLASS_STREAM_RECORDS_H
#define NETGLASS_STREAM_RECORDS_H

/* Addresses are 16 bytes, those of IPv4 mapped into IPv6 (RFC 4291, section 2.5.5.2). */
#define ADDRESS_LENGTH 16

enum flow_flags {
	/* This end is the server. */
	FLOW_PASSIVE = 1 << 0,
	/* The process is that of the listening socket; whether it is the one at work is not known. */
	FLOW_BY_LISTENER = 1 << 1,
};

struct flow_key {
	__u8 local_address[ADDRESS_LENGTH];
	__u8 peer_address[ADDRESS_LENGTH];
	__u32 network_namespace;
	/* As in struct process_record; 0 where it is not known. */
	__u32 process;
	/* In host byte order. */
	__u16 service_port;
	__u8 protocol;
	__u8 flags;
	__u32 reserved;
};

/* A socket that was there before us: what it did until then, of struct tcp_info (linux/tcp.h). */
struct listed_socket {
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 retransmits;
	/* Whoever holds it; 0 where that is not known. */
	__u32 process;
	/* As in struct tracked_socket. */
	__u32 counted_in;
	__u32 unused;
};

enum failure {
	FAILURE_REFUSED,
	FAILURE_TIMED_OUT,
	FAILURE_UNREACHABLE,
	FAILURE_RESET,
	FAILURE_ABANDONED,
	FAILURE_OTHER,
	FAILURES,
};

/* What was counted of a flow since the last collection. */
struct flow_counters {
	/* How often something was added here. */
	__u64 sightings;
	/* Connections seen, those older than the last collection included. */
	__u64 connections;
	/* Those of them that began while we watch and were not counted before. */
	__u64 opened;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 segments_sent;
	__u64 segments_received;
	__u64 retransmits;
	__u64 rtt_sum_us;
	__u64 rtt_samples;
	__u64 failed[FAILURES];
};

/* A flow with what was counted of it on one processor. */
struct recent_flow {
	struct flow_key key;
	struct flow_counters counters;
	/* Whether somebody is at it: an interrupt on the same processor keeps off then. */
	__u32 is_taken;
	__u32 reserved;
};

/* A power of two. */
#define RECENT_FLOWS 64

struct recent_flows {
	struct recent_flow flows[RECENT_FLOWS];
};

/* What became of sightings, and what they lack. */
enum count {
	/* Everything that was to be added to a flow. */
	COUNT_SIGHTINGS,
	/* Not added: the table of flows was full. */
	COUNT_FLOWS_FULL,
	/* Not added: another program held the flow's place in the table. */
	COUNT_FLOWS_BUSY,
	/* Not added: nothing is known of the socket, not even its direction. */
	COUNT_UNTRACKED,
	/* Not added: a datagram whose peer is not known. */
	COUNT_NO_PEER,
	/* Added without process: the buffer for the details of processes was full. */
	COUNT_PROCESS_BUFFER_FULL,
	COUNTS,
};

/* A socket that waits for peers, as the collecting iterator writes it. */
struct listener_record {
	__u8 local_address[ADDRESS_LENGTH];
	__u32 network_namespace;
	__u32 process;
	/* 0 where the kernel chose the port. */
	__u16 port;
	__u8 protocol;
	__u8 reserved[5];
};

#define NAME_LENGTH 128
#define PATH_LENGTH 256
#define ARGUMENTS_LENGTH 256

/* A process, as it was when it first did something that concerns us. */
struct process_record {
	/* What flows and listeners call it. */
	__u32 process;
	/* Ids in the pid namespace of the reader. */
	__u32 pid;
	__u32 pgid;
	__u32 ppid;
	/* The oldest ancestor of which it is a part, itself included. */
	__u32 family;
	__u32 uid;
	__u32 gid;
	/* How many bytes of the following hold something. */
	__u16 executable_length;
	__u16 cgroup_length;
	__u16 arguments_length;
	/* Whether there are more arguments. */
	__u16 arguments_cut;
	__u32 reserved;
	/* Nanoseconds since boot, time suspended included. */
	__u64 start_boottime;
	char comm[16];
	/* The names on the way to the executable, the last one first, each ended by a NUL. */
	char executable[PATH_LENGTH + NAME_LENGTH];
	/* The same of the control group in the v2 hierarchy. */
	char cgroup[PATH_LENGTH + NAME_LENGTH];
	/* The arguments, each ended by a NUL. */
	char arguments[ARGUMENTS_LENGTH];
};

/* What does not change while the programs run. */
struct settings {
	/* Only sockets of this network namespace are followed; of all where it is 0. */
	__u32 wanted_namespace;
	/* One less than there are places for connections, which is a power of two. */
	__u32 connections_mask;
};

/* Set by the reader; read by every program. */
struct control {
	/* Counts collections; its lowest bit says which table of flows is in use. */
	__u32 epoch;
	/* What the iterator over existing sockets is to do, or how it went. */
	__u32 phase;
	/* Whether there is a list of sockets that were there before. */
	__u32 has_list;
	__u32 reserved;
};

enum phase {
	PHASE_LISTENERS = 1,
	PHASE_CONNECTIONS = 2,
	/* It is done: what nothing is known of came later. */
	PHASE_FOUND_ALL = 3,
	/* It is done, but could not find all. */
	PHASE_FOUND_SOME = 4,
};

_Static_assert(sizeof(struct flow_key) == 48, "shared with Rust");
_Static_assert(sizeof(struct flow_counters) == 128, "shared with Rust");
_Static_assert(sizeof(struct recent_flow) == 184, "shared with Rust");
_Static_assert(sizeof(struct listener_record) == 32, "shared with Rust");
_Static_assert(sizeof(struct process_record) == 1088, "shared with Rust");
_Static_assert(sizeof(struct settings) == 8, "shared with Rust");
_Static_assert(sizeof(struct control) == 16, "shared with Rust");

#endif
