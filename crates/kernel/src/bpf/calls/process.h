/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Who calls.
 */
#ifndef NETGLASS_CALLS_PROCESS_H
#define NETGLASS_CALLS_PROCESS_H

static __always_inline void copy_comm(char *comm, struct task_struct *leader)
{
	__u64 *words = (__u64 *)comm;

	words[0] = *(__u64 *)&leader->comm[0];
	words[1] = *(__u64 *)&leader->comm[8];
}

static __always_inline void describe_process(struct call_record *record, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct task_struct *parent = leader->real_parent;
	__u32 level = level_of_reader;

	record->pid = number_of(task);
	record->tid = level ? pid_number(task->thread_pid, level) : (__u32)task->pid;
	record->ppid = number_of(parent);
	record->uid = task->real_cred->uid.val;
	copy_comm(record->comm, leader);
	copy_comm(record->parent_comm, parent->group_leader);
}

#endif
