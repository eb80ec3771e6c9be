/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose work it is: each process is told of once, with all that would be gone if it ended before
 * anybody reads about it under /proc.
 */
#ifndef NETGLASS_STREAM_PROCESS_H
#define NETGLASS_STREAM_PROCESS_H

#include "../task.h"

/* include/linux/sched.h */
#define PF_KTHREAD 0x00200000

/* How far up the way from a worker to its master goes, and that to a file's root. */
#define FAMILY_DEPTH 8
#define PATH_DEPTH 16

/* The level of the reader's pid namespace. */
__u32 level_of_reader;
__u32 last_process;

/* Behind which the next name is written; at its end when there is no more room. */
static __always_inline __u32 append_name(char *names, __u32 length, const unsigned char *name)
{
	long written;

	if (length >= PATH_LENGTH)
		return length;
	written = bpf_probe_read_kernel_str(names + (length & (PATH_LENGTH - 1)), NAME_LENGTH, name);
	return written > 0 ? length + written : length;
}

static __noinline __u32 write_executable(struct process_record *record, struct mm_struct *mm)
{
	struct file *file = BPF_CORE_READ(mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct vfsmount *vfsmount = BPF_CORE_READ(file, f_path.mnt);
	__u32 length = 0;

	if (!file)
		return 0;
	for (int step = 0; step < PATH_DEPTH; step++) {
		struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		if (dentry == BPF_CORE_READ(vfsmount, mnt_root)) {
			struct mount *below = BPF_CORE_READ(mount, mnt_parent);

			if (below == mount)
				return length;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			vfsmount = (void *)below + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		if (dentry == parent)
			return length;
		length = append_name(record->executable, length, BPF_CORE_READ(dentry, d_name.name));
		dentry = parent;
	}
	/* The beginning is missing: half a path names another file. */
	return 0;
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___before_6_15 *)node, parent);
}

static __noinline __u32 write_cgroup(struct process_record *record, struct task_struct *leader)
{
	struct kernfs_node *node = BPF_CORE_READ(leader, cgroups, dfl_cgrp, kn);
	__u32 length = 0;

	for (int step = 0; step < PATH_DEPTH && node; step++) {
		struct kernfs_node *parent = parent_of(node);

		if (!parent)
			return length;
		length = append_name(record->cgroup, length,
				     (const unsigned char *)BPF_CORE_READ(node, name));
		node = parent;
	}
	return 0;
}

static __always_inline void write_arguments(struct process_record *record, struct mm_struct *mm)
{
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	unsigned long length = BPF_CORE_READ(mm, arg_end) - start;

	if (length > ARGUMENTS_LENGTH) {
		length = ARGUMENTS_LENGTH;
		record->arguments_cut = 1;
	}
	if (!bpf_probe_read_user(record->arguments, length, (void *)start))
		record->arguments_length = length;
}

/*
 * The oldest ancestor that the process is a part of: in the same process group, under the same
 * name, forked from it without an execve(2) since, so that both have their stack at one place.
 */
static __noinline __u32 family_of(struct task_struct *leader)
{
	struct pid *group = BPF_CORE_READ(leader, signal, pids[PIDTYPE_PGID]);
	unsigned long stack = BPF_CORE_READ(leader, mm, start_stack);
	__u64 name[2], parents_name[2];

	BPF_CORE_READ_INTO(&name, leader, comm);
	for (int step = 0; step < FAMILY_DEPTH; step++) {
		struct task_struct *parent = BPF_CORE_READ(leader, real_parent, group_leader);

		if (!parent || parent == leader ||
		    BPF_CORE_READ(parent, signal, pids[PIDTYPE_PGID]) != group ||
		    BPF_CORE_READ(parent, mm, start_stack) != stack)
			break;
		BPF_CORE_READ_INTO(&parents_name, parent, comm);
		if (name[0] != parents_name[0] || name[1] != parents_name[1])
			break;
		leader = parent;
	}
	return pid_number(BPF_CORE_READ(leader, thread_pid), level_of_reader);
}

/* Tells of a process; returns what to call it, or 0 where it could not be told of. */
static __noinline __u32 tell_of(struct task_struct *leader, __u32 is_current)
{
	__u32 level = level_of_reader;
	struct process_record *record;
	struct task_struct *parent;
	struct mm_struct *mm;
	__u32 process;

	record = bpf_ringbuf_reserve(&process_records, sizeof(*record), 0);
	if (!record) {
		count_one(current_epoch(), COUNT_PROCESS_BUFFER_FULL);
		return 0;
	}
	process = __sync_fetch_and_add(&last_process, 1) + 1;
	record->process = process;
	record->pid = pid_number(BPF_CORE_READ(leader, thread_pid), level);
	record->pgid = pid_number(BPF_CORE_READ(leader, signal, pids[PIDTYPE_PGID]), level);
	parent = BPF_CORE_READ(leader, real_parent, group_leader);
	record->ppid = pid_number(BPF_CORE_READ(parent, thread_pid), level);
	record->family = family_of(leader);
	record->uid = BPF_CORE_READ(leader, real_cred, uid.val);
	record->gid = BPF_CORE_READ(leader, real_cred, gid.val);
	record->executable_length = 0;
	record->arguments_length = 0;
	record->arguments_cut = 0;
	record->reserved = 0;
	record->start_boottime = BPF_CORE_READ(leader, start_boottime);
	BPF_CORE_READ_INTO(&record->comm, leader, comm);
	record->cgroup_length = write_cgroup(record, leader);
	mm = BPF_CORE_READ(leader, mm);
	if (mm) {
		record->executable_length = write_executable(record, mm);
		/* Another process's memory cannot be read from here. */
		if (is_current)
			write_arguments(record, mm);
	}
	/* The reader comes by once in each interval; waking it for every process costs more. */
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return process;
}

/* What a process is called, which is told of if it was not yet. */
static __always_inline __u32 process_of(struct task_struct *leader, __u32 tgid, __u64 start,
					__u64 exec_id, __u32 is_current)
{
	struct known_process *known, told = { .start_boottime = start, .exec_id = exec_id };

	known = bpf_map_lookup_elem(&processes, &tgid);
	if (known && known->start_boottime == start && known->exec_id == exec_id)
		return known->process;
	told.process = tell_of(leader, is_current);
	if (told.process)
		bpf_map_update_elem(&processes, &tgid, &told, BPF_ANY);
	return told.process;
}

/* A power of two. */
#define RECENT_PROCESSES 64

struct recent_process {
	__u64 start_boottime;
	__u64 exec_id;
	__u32 tgid;
	__u32 process;
};

/* Those that were at work on each processor of late, by the end of their ids. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RECENT_PROCESSES);
	__type(key, __u32);
	__type(value, struct recent_process);
} recent_processes SEC(".maps");

static __always_inline bool is_recent(struct recent_process *recent, __u32 tgid, __u64 start,
				      __u64 exec_id)
{
	return *(volatile __u32 *)&recent->tgid == tgid &&
	       *(volatile __u64 *)&recent->start_boottime == start &&
	       *(volatile __u64 *)&recent->exec_id == exec_id;
}

/*
 * The process at work; 0 where it is the kernel. Not for use in a softirq. Not static: the verifier
 * looks at it once, and not on each way that leads here.
 */
__noinline __u32 current_process(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 tgid, process, place;
	struct recent_process *recent;
	struct task_struct *leader;
	__u64 start, exec_id;

	if (task->flags & PF_KTHREAD)
		return 0;
	tgid = task->tgid;
	leader = task->group_leader;
	start = leader->start_boottime;
	exec_id = leader->self_exec_id;
	place = tgid & (RECENT_PROCESSES - 1);
	recent = bpf_map_lookup_elem(&recent_processes, &place);
	if (recent && is_recent(recent, tgid, start, exec_id)) {
		process = *(volatile __u32 *)&recent->process;
		barrier();
		/* Another task may have been at it meanwhile, on the same processor. */
		if (is_recent(recent, tgid, start, exec_id))
			return process;
	}
	process = process_of(leader, tgid, start, exec_id, 1);
	if (recent && process) {
		*(volatile __u32 *)&recent->tgid = 0;
		barrier();
		recent->start_boottime = start;
		recent->exec_id = exec_id;
		recent->process = process;
		barrier();
		*(volatile __u32 *)&recent->tgid = tgid;
	}
	return process;
}

#endif
