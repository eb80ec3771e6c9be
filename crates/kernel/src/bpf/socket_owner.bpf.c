// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Which process holds which TCP or UDP socket: an iterator over every open file of every process
 * that the reader can see. It writes a process once and behind it a short record for each socket,
 * so that nobody has to read a link under /proc for each file.
 */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "inet.h"
#include "socket_owner.h"
#include "task.h"

/* Only sockets of this network namespace are listed; of all where it is 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} wanted_namespace SEC(".maps");

/* The process whose record was written last, and in which reading. */
struct {
	__u64 session_id;
	__u64 start_boottime;
	__u32 tgid;
} last = {};

SEC("iter/task_file")
int list_socket_owners(struct bpf_iter__task_file *ctx)
{
	struct socket_owner_process process = { .kind = SOCKET_OWNER_PROCESS };
	struct socket_owner_socket record = { .kind = SOCKET_OWNER_SOCKET };
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct seq_file *seq = ctx->meta->seq;
	__u64 session_id = ctx->meta->session_id;
	struct task_struct *leader;
	struct socket *socket;
	struct sock *sk;
	__u16 family, protocol;
	__u32 first = 0, *wanted;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if ((family != AF_INET && family != AF_INET6) ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return 0;
	wanted = bpf_map_lookup_elem(&wanted_namespace, &first);
	if (wanted && *wanted && BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != *wanted)
		return 0;

	leader = BPF_CORE_READ(task, group_leader);
	process.start_boottime = BPF_CORE_READ(leader, start_boottime);
	if (last.session_id != session_id || last.tgid != task->tgid ||
	    last.start_boottime != process.start_boottime) {
		__u32 level = reader_level();

		process.pid = pid_number(BPF_CORE_READ(leader, thread_pid), level);
		process.pgid = pid_number(BPF_CORE_READ(leader, signal, pids[PIDTYPE_PGID]), level);
		BPF_CORE_READ_STR_INTO(&process.comm, leader, comm);
		if (bpf_seq_write(seq, &process, sizeof(process)))
			return 0;
	}
	record.inode = BPF_CORE_READ(file, f_inode, i_ino);
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK)
		record.flags |= SOCKET_OWNER_PORT_BOUND;
	/*
	 * A write that does not fit discards all that was written for this file, and the kernel
	 * calls again for it: the process counts as written only when the socket is too.
	 */
	if (bpf_seq_write(seq, &record, sizeof(record)))
		return 0;
	last.session_id = session_id;
	last.tgid = task->tgid;
	last.start_boottime = process.start_boottime;
	return 0;
}

/* Helpers such as bpf_seq_write are for programs that declare themselves GPL compatible. */
char _license[] SEC("license") = "Dual MIT/GPL";
