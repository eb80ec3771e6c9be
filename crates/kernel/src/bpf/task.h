/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The ids of processes as whoever reads them knows them.
 */
#ifndef NETGLASS_TASK_H
#define NETGLASS_TASK_H

#include "kernel_types.h"

/* The id of a task or group in the pid namespace of the reader, whose level is given. */
static __u32 pid_number(struct pid *pid, __u32 level)
{
	/* The array has one element for each level: its elements' size is the running kernel's. */
	struct upid *first = __builtin_preserve_access_index(&pid->numbers[0]);
	struct upid *own = (void *)first + level * bpf_core_type_size(struct upid);

	if (!pid || BPF_CORE_READ(pid, level) < level)
		return 0;
	return BPF_CORE_READ(own, nr);
}

/* The level of the current task's pid namespace. */
static __always_inline __u32 reader_level(void)
{
	struct task_struct *reader = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(reader, thread_pid, level);
}

#endif
