/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The few kernel structures that our programs read, with only the members that they read: CO-RE
 * finds where those are on the running kernel. Names and types follow the kernel's headers.
 */
#ifndef NETGLASS_KERNEL_TYPES_H
#define NETGLASS_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/ns_common.h */
struct ns_common {
	unsigned int inum;
};

/* include/net/net_namespace.h */
struct net {
	struct ns_common ns;
};

/* include/net/net_namespace.h */
typedef struct {
	struct net *net;
} possible_net_t;

/* include/net/sock.h */
struct sock_common {
	unsigned short skc_family;
	possible_net_t skc_net;
};

/* include/net/sock.h */
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u8 sk_userlocks : 4;
};

/* include/linux/net.h */
struct socket {
	struct sock *sk;
};

/* include/linux/fs.h */
struct inode {
	unsigned long i_ino;
};

/* include/linux/fs.h */
struct file {
	struct inode *f_inode;
};

/* include/linux/pid.h */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

/* include/linux/pid.h */
struct pid {
	unsigned int level;
	struct upid numbers[1];
};

/* include/linux/pid_types.h */
enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID,
	PIDTYPE_PGID,
	PIDTYPE_SID,
	PIDTYPE_MAX,
};

/* include/linux/sched/signal.h */
struct signal_struct {
	struct pid *pids[PIDTYPE_MAX];
};

/* include/linux/sched.h */
struct task_struct {
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	__u64 start_boottime;
	char comm[16];
};

/* include/linux/bpf.h */
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

/* kernel/bpf/task_iter.c */
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
