/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The records that the task_file iterator writes: a process, followed by the sockets it holds.
 * Shared with src/owner/task_file.rs, whose tests check the same sizes.
 */
#ifndef NETGLASS_SOCKET_OWNER_H
#define NETGLASS_SOCKET_OWNER_H

#define SOCKET_OWNER_COMM_LENGTH 16

enum socket_owner_record_kind {
	SOCKET_OWNER_PROCESS = 1,
	SOCKET_OWNER_SOCKET = 2,
};

enum socket_owner_socket_flags {
	/* The program chose the port (bind), not the kernel. */
	SOCKET_OWNER_PORT_BOUND = 1 << 0,
};

struct socket_owner_process {
	__u32 kind;
	__u32 pid;
	__u32 pgid;
	__u32 reserved;
	/* Nanoseconds since boot, time suspended included. */
	__u64 start_boottime;
	char comm[SOCKET_OWNER_COMM_LENGTH];
};

struct socket_owner_socket {
	__u32 kind;
	__u32 inode;
	__u32 flags;
	__u32 reserved;
};

_Static_assert(sizeof(struct socket_owner_process) == 40, "shared with Rust");
_Static_assert(sizeof(struct socket_owner_socket) == 16, "shared with Rust");

#endif
