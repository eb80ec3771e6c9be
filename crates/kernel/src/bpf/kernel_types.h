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

struct net_device;

/* include/net/net_namespace.h */
struct net {
	struct ns_common ns;
	struct net_device *loopback_dev;
};

/* include/linux/types.h */
typedef struct {
	__s64 counter;
} atomic64_t;

/* include/linux/types.h */
typedef struct {
	int counter;
} atomic_t;

struct hlist_node;

/* include/linux/types.h */
struct hlist_head {
	struct hlist_node *first;
};

/* include/net/net_namespace.h */
typedef struct {
	struct net *net;
} possible_net_t;

/* include/linux/netdevice.h */
struct net_device {
	int ifindex;
	unsigned short type;
	possible_net_t nd_net;
};

/* include/net/dst.h */
struct dst_entry {
	struct net_device *dev;
};

/* include/uapi/linux/in6.h */
struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

/* include/net/sock.h */
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	atomic64_t skc_cookie;
};

/* include/linux/bpf_local_storage.h */
struct bpf_local_storage;

struct socket;

/* include/net/sock.h */
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u8 sk_userlocks : 4;
	__u8 sk_kern_sock : 1;
	int sk_err;
	struct socket *sk_socket;
	__u32 sk_max_ack_backlog;
	struct bpf_local_storage *sk_bpf_storage;
};

/* include/linux/skbuff.h */
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned int len;
	unsigned int data_len;
	__u8 pkt_type : 3;
	__u32 hash;
	int skb_iif;
	__be16 protocol;
	__u16 network_header;
	__u16 mac_header;
	unsigned char *head;
	unsigned char *data;
};

/* include/net/inet_sock.h */
struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

/* include/linux/tcp.h */
struct tcp_sock {
	__u32 segs_in;
	__u32 segs_out;
	__u32 srtt_us;
	__u32 total_retrans;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_acked;
	__u64 bytes_received;
};

/* include/linux/udp.h */
struct udp_sock {
	struct inet_sock inet;
};

/* include/linux/un.h */
struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

/* include/net/af_unix.h */
struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

/* include/net/af_unix.h */
struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct sock *peer;
};

/* include/linux/net.h */
struct socket {
	short type;
	struct sock *sk;
};

/* include/linux/fs.h */
struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
};

/* include/linux/dcache.h */
struct qstr {
	const unsigned char *name;
};

/* include/linux/dcache.h */
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

/* include/linux/mount.h */
struct vfsmount {
	struct dentry *mnt_root;
};

/* fs/mount.h */
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

/* include/linux/path.h */
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

/* include/linux/fs.h */
struct file {
	const void *f_op;
	void *private_data;
	struct path f_path;
	struct inode *f_inode;
};

/* include/linux/fdtable.h */
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

/* include/linux/fdtable.h */
struct files_struct {
	atomic_t count;
	struct fdtable *fdt;
};

/* include/linux/kernfs.h */
struct kernfs_node {
	struct kernfs_node *__parent;
	const char *name;
};

/* The same before Linux 6.15. */
struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
};

/* include/linux/cgroup-defs.h */
struct cgroup {
	struct kernfs_node *kn;
};

/* include/linux/cgroup-defs.h */
struct css_set {
	struct cgroup *dfl_cgrp;
};

/* include/linux/mm_types.h */
struct mm_struct {
	unsigned long start_stack;
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

/* include/linux/uidgid_types.h */
typedef struct {
	__u32 val;
} kuid_t;

/* include/linux/uidgid_types.h */
typedef struct {
	__u32 val;
} kgid_t;

/* include/linux/cred.h */
struct cred {
	kuid_t uid;
	kgid_t gid;
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
	atomic_t live;
	struct pid *pids[PIDTYPE_MAX];
};

#if defined(__TARGET_ARCH_x86)
/* arch/x86/include/asm/ptrace.h */
struct pt_regs {
	unsigned long r10;
	unsigned long r8;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
/* arch/arm64/include/asm/ptrace.h */
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};
#endif

/* arch/x86/include/asm/thread_info.h */
struct thread_info {
	__u32 status;
};

/* include/linux/sched.h */
struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid;
	int tgid;
	struct files_struct *files;
	struct mm_struct *mm;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	const struct cred *real_cred;
	struct css_set *cgroups;
	__u64 start_boottime;
	__u64 self_exec_id;
	char comm[16];
};

/* include/linux/io_uring_types.h */
struct io_cqe {
	int fd;
};

/* include/linux/io_uring_types.h */
struct io_kiocb {
	struct file *file;
	__u8 opcode;
	__u64 flags;
	struct io_cqe cqe;
};

/* include/uapi/linux/io_uring.h */
struct io_uring_cqe {
	__u64 user_data;
	__s32 res;
	__u32 flags;
};

/* include/linux/bpf.h */
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

/* kernel/bpf/task_iter.c */
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

/* kernel/bpf/task_iter.c */
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

/* net/ipv4/tcp_ipv4.c */
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

/* net/ipv4/udp.c */
struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

/* net/core/bpf_sk_storage.c */
struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* kernel/bpf/map_iter.c */
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

#pragma clang attribute pop

#endif
