/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the kernel programs that follow system calls tell user space, and what they are told.
 * Read by src/calls/record.rs and written by src/calls/settings.rs.
 */
#ifndef NETGLASS_CALLS_RECORDS_H
#define NETGLASS_CALLS_RECORDS_H

#include <linux/types.h>

#define COMM_LENGTH 16
#define ADDRESS_LENGTH 16

/* In the order of netglass_model::CallName::ALL, which begins with 1 here. */
enum call {
	CALL_NONE,
	CALL_SOCKET,
	CALL_SOCKETPAIR,
	CALL_BIND,
	CALL_LISTEN,
	CALL_CONNECT,
	CALL_ACCEPT,
	CALL_ACCEPT4,
	CALL_GETSOCKOPT,
	CALL_SHUTDOWN,
	CALL_CLOSE,
	CALL_READ,
	CALL_READV,
	CALL_PREAD64,
	CALL_PREADV,
	CALL_PREADV2,
	CALL_WRITE,
	CALL_WRITEV,
	CALL_PWRITE64,
	CALL_PWRITEV,
	CALL_PWRITEV2,
	CALL_SENDTO,
	CALL_SENDMSG,
	CALL_SENDMMSG,
	CALL_RECVFROM,
	CALL_RECVMSG,
	CALL_RECVMMSG,
	CALL_SENDFILE,
	CALL_SPLICE,
	CALL_TEE,
	CALL_DUP,
	CALL_DUP2,
	CALL_DUP3,
	CALL_FCNTL,
	CALL_POLL,
	CALL_PPOLL,
	CALL_SELECT,
	CALL_PSELECT6,
	CALL_EPOLL_WAIT,
	CALL_EPOLL_PWAIT,
	CALL_EPOLL_PWAIT2,
	/* Operations of io_uring. */
	CALL_URING_READV,
	CALL_URING_WRITEV,
	CALL_URING_READ_FIXED,
	CALL_URING_WRITE_FIXED,
	CALL_URING_SENDMSG,
	CALL_URING_RECVMSG,
	CALL_URING_ACCEPT,
	CALL_URING_CONNECT,
	CALL_URING_READ,
	CALL_URING_WRITE,
	CALL_URING_SEND,
	CALL_URING_RECV,
	CALL_URING_SPLICE,
	CALL_URING_SHUTDOWN,
	CALL_URING_SOCKET,
	CALL_URING_SEND_ZC,
	CALL_URING_SENDMSG_ZC,
	CALL_URING_BIND,
	CALL_URING_LISTEN,
	CALLS,
};

enum record_kind {
	/* The call has returned. */
	RECORD_RETURN = 1,
	/* The call begins. */
	RECORD_ENTRY,
	/* The call began long ago and has not returned. */
	RECORD_PENDING,
};

enum record_flags {
	/* address and address_port are those that the call named, or that it was given. */
	RECORD_ADDRESS = 1 << 0,
	/* The call began before it was watched: its duration is not known. */
	RECORD_BEGAN_BEFORE = 1 << 1,
	/* length says how many bytes were asked for. */
	RECORD_LENGTH = 1 << 2,
	/* transferred says how many bytes went through. */
	RECORD_TRANSFERRED = 1 << 3,
	/* The connection is that of a socket; without, only its family is known, or nothing. */
	RECORD_CONNECTION = 1 << 4,
	/* The addresses of the connection are behind the record. */
	RECORD_ADDRESSES = 1 << 5,
	/* Of a call between two descriptors: the socket is the one that is taken from. */
	RECORD_TAKEN_FROM = 1 << 6,
};

/* Where these say so, there is something behind the record. */
#define RECORD_EXTRA (RECORD_ADDRESS | RECORD_TRANSFERRED | RECORD_ADDRESSES)

/* An address of IPv6, or one of IPv4 that is mapped into it, in network order. */
union address {
	__u8 bytes[ADDRESS_LENGTH];
	__u64 words[2];
};
/* What is written together in a word is as if it was written piece by piece. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all machines that this runs on are");

/* A connection as its socket has it. */
struct call_connection {
	union address local_address;
	union address remote_address;
	__u32 network_namespace;
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u16 protocol;
	__u16 type;
	__u8 state;
	/* Where calls may be added up: it is the end that listened, as far as the socket tells. */
	__u8 is_passive;
	__u64 socket_cookie;
};
_Static_assert(sizeof(struct call_connection) == 56, "fits into struct call_in_progress");

struct call_record {
	/* CLOCK_MONOTONIC, of the return or, where there is none, of now. */
	__u64 time_ns;
	__u64 duration_ns;
	__u64 length;
	/* No call on a socket returns more than an int holds (MAX_RW_COUNT). */
	__s32 result;
	/* What else the call was given; by call, see src/calls/record.rs. */
	__u32 details[2];
	__u16 flags;
	/* How many bytes of what was sent or received stand behind the record and its paths. */
	__u16 payload_length;
	/* Of a Unix socket: how long its path is, which stands behind the record, and its peer's behind it. */
	__u8 local_path_length;
	__u8 remote_path_length;
	__u8 kind;
	__u8 call;
	__u8 state;
	__u8 reserved;
	/* From here on: who called, with which descriptor, and on which connection. */
	__u16 type;
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__s32 fd;
	__u32 network_namespace;
	__u64 socket_cookie;
	__u16 local_port;
	__u16 remote_port;
	__be32 local_address_v4;
	__be32 remote_address_v4;
	__u16 family;
	__u16 protocol;
	char comm[COMM_LENGTH];
	char parent_comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct call_record) == 128, "src/calls/record.rs reads 128 bytes");
_Static_assert(__builtin_offsetof(struct call_record, type) == 46, "src/calls/record.rs");

/* What few calls have, behind the record where a flag says that some of it is there. */
struct call_extra {
	union address local_address;
	union address remote_address;
	union address address;
	__u64 transferred;
	__u16 address_port;
	__u16 reserved[3];
};
_Static_assert(sizeof(struct call_extra) == 64, "src/calls/record.rs reads 64 bytes");

/* How many records stand together, which the reader takes at once. */
#define BLOCK_RECORDS 128

struct record_block {
	struct call_record records[BLOCK_RECORDS];
};

/*
 * How far a processor has written its ring. Maps do not begin with a line of the caches, so what is
 * used of two of these is more than a line apart.
 */
struct ring_written {
	/* In places of one record, since the beginning. */
	__u64 places;
	/* Up to where there is room, as far as the processor knows. */
	__u64 limit;
	/* Records are longer than a place where something stands behind them. */
	__u64 records;
	/* Calls of processes that are selected, on sockets. */
	__u64 seen;
	__u64 reserved[12];
};
_Static_assert(sizeof(struct ring_written) == 128, "src/calls/ring.rs reads 128 bytes");

/* How far the reader is. */
struct ring_read {
	__u64 places;
	__u64 reserved[15];
};
_Static_assert(sizeof(struct ring_read) == 128, "src/calls/ring.rs writes 128 bytes");

/* What is counted, for each processor. */
enum call_count {
	/* Calls on sockets of processes that are selected, but not by their connection or result. */
	COUNT_FILTERED,
	/* There was no room in the ring buffer. */
	COUNT_RING_FULL,
	/* Processes that could not be followed: there was no room for another one. */
	COUNT_NOT_FOLLOWED,
	/* Operations of io_uring that could not be remembered until they are complete. */
	COUNT_NOT_REMEMBERED,
	/* There was no room for another sum. */
	COUNT_SUMS_FULL,
	/* Calls of processes that are selected, on sockets, where all calls are added up. */
	COUNT_ADDED_UP,
	COUNTS,
};

enum setting_flags {
	/* Only processes that are in the map of pids. */
	SELECT_PIDS = 1 << 0,
	SELECT_NOT_PIDS = 1 << 1,
	SELECT_COMMS = 1 << 2,
	SELECT_NOT_COMMS = 1 << 3,
	SELECT_UIDS = 1 << 4,
	SELECT_PORTS = 1 << 5,
	/* Only processes that are followed, whatever else is selected. */
	SELECT_FOLLOWED = 1 << 6,
	/* Children of what is selected, too. */
	FOLLOW_CHILDREN = 1 << 7,
	ONLY_ERRORS = 1 << 8,
	TELL_ENTRIES = 1 << 9,
	/* Calls are added up and not told of. */
	ADD_UP = 1 << 10,
	/* Calls are added up from when there is no room to tell of them until the reader says so. */
	ADD_UP_WHEN_FULL = 1 << 11,
	/* What is added up is kept apart by service rather than by socket. */
	BY_SERVICE = 1 << 12,
};

/* Those by which processes are selected. */
#define SELECT_PROCESSES                                                                           \
	(SELECT_PIDS | SELECT_NOT_PIDS | SELECT_COMMS | SELECT_NOT_COMMS | SELECT_UIDS |           \
	 SELECT_FOLLOWED | FOLLOW_CHILDREN)

#define MAX_PAYLOAD 4096
#define MAX_PATH 108
#define MAX_PREFIXES 32
#define MAX_NAMESPACES 16
#define MAX_CGROUPS 16

struct address_prefix {
	union address address;
	union address mask;
};

struct selected_cgroup {
	__u64 id;
	__u32 level;
	__u32 reserved;
};

/* Set before the programs are loaded. */
struct call_settings {
	/* By enum call. */
	__u64 calls;
	/* By address family. */
	__u64 families;
	/* How many blocks of records each processor has, a power of two. */
	__u64 ring_blocks;
	__u32 flags;
	/* The process that reads, as it calls itself. */
	__u32 reader;
	/* How many bytes of what is sent or received are told of, at most MAX_PAYLOAD. */
	__u32 payload;
	__u32 prefix_count;
	__u32 namespace_count;
	__u32 cgroup_count;
	/* How many slots there are for threads, less one. */
	__u32 last_slot;
	__u32 reserved;
	__u32 namespaces[MAX_NAMESPACES];
	struct selected_cgroup cgroups[MAX_CGROUPS];
	struct address_prefix prefixes[MAX_PREFIXES];
};
_Static_assert(sizeof(struct call_settings) == 1400, "src/calls/settings.rs writes 1400 bytes");

/* Changed while the programs run. */
struct call_control {
	/* The next process that the reader forks is to be followed. */
	__u32 follow_next_child;
	/* Its lowest bit says which table of sums is added to. */
	__u32 epoch;
};

enum sum_flags {
	/* The connection is that of a socket; without, only its family is known, or nothing. */
	SUM_CONNECTION = 1 << 0,
	/* Of calls between two descriptors: the socket is the one that is taken from. */
	SUM_TAKEN_FROM = 1 << 1,
};

/*
 * What calls have in common that are added up. It is written word by word: what is read at once right
 * after it was written in pieces is waited for. The first six words are the connection without its
 * cookie and with no state, where by service the port of the end that asks is 0; then come the process
 * and, above it, the descriptor, which is -1 by service; and from below the error (16 bits, 0 for calls
 * that succeed), the call and enum sum_flags (8 bits each).
 */
struct sum_key {
	__u64 words[8];
};
_Static_assert(__builtin_offsetof(struct call_connection, socket_cookie) == 48, "six words");
_Static_assert(sizeof(struct sum_key) == 64, "src/calls/sum.rs reads 64 bytes");

/*
 * How long calls took: the first counts those of unknown duration, the second those below the first
 * power of two; from there on each power of two has as many of the same width as LATENCY_PARTS says.
 */
#define LATENCY_FIRST_POWER 7
#define LATENCY_POWERS 28
#define LATENCY_PARTS 4
#define LATENCIES (2 + LATENCY_POWERS * LATENCY_PARTS)

struct call_sum {
	struct sum_key key;
	__u64 bytes;
	__u64 duration_ns;
	/* When the process began, by CLOCK_BOOTTIME. */
	__u64 process_start;
	__u32 ppid;
	__u32 uid;
	/* 0 where it is not known. */
	__u32 pgid;
	__u32 reserved;
	char comm[COMM_LENGTH];
	char parent_comm[COMM_LENGTH];
	__u32 latencies[LATENCIES];
};
_Static_assert(sizeof(struct call_sum) == 592, "src/calls/sum.rs reads 592 bytes");

#endif
