/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The call that a thread is in. It is kept where its thread is found without a search: in the slot
 * that its id leads to, which the thread has to itself until it ends. Where another thread has that
 * one, it is kept in the storage of the task, which takes longer to find.
 */
#ifndef NETGLASS_CALLS_PROGRESS_H
#define NETGLASS_CALLS_PROGRESS_H

struct call_in_progress {
	/* Whose slot it is, or 0. */
	__u32 thread;
	__u32 call;
	__u64 entered_ns;
	/* The open file, if it is a socket. Where others may close it, it may be gone. */
	__u64 file;
	__s32 fd;
	/* It was told of as pending. */
	__u32 is_told;
	__u64 reserved[4];
	/* Of close(2), after which there is nothing to look at. */
	struct call_connection connection;
	__u64 reserved_behind;
};
_Static_assert(sizeof(struct call_in_progress) == 128, "found by a shift");

/* By the last bits of a thread's id. How many there are is a power of two. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct call_in_progress);
} thread_slots SEC(".maps");

/* Goes when the thread goes. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call_in_progress);
} calls_in_progress SEC(".maps");

static __always_inline struct call_in_progress *slot_of(struct task_struct *task)
{
	__u32 slot = task->pid & settings.last_slot;

	return bpf_map_lookup_elem(&thread_slots, &slot);
}

/* Where the call is that a thread is in, or was in last; nowhere if none was seen. */
static __always_inline struct call_in_progress *find_progress(struct task_struct *task)
{
	struct call_in_progress *slot = slot_of(task);

	if (slot && slot->thread == (__u32)task->pid)
		return slot;
	return bpf_task_storage_get(&calls_in_progress, task, 0, 0);
}

/* Where the call is to be kept that the current task begins. */
static __always_inline struct call_in_progress *place_for_progress(struct task_struct *task)
{
	struct call_in_progress *slot = slot_of(task);
	__u32 thread = task->pid;

	/* Nobody but the thread itself looks at a slot that is its own, and it does one thing at a time. */
	if (slot && (slot->thread == thread || !__sync_val_compare_and_swap(&slot->thread, 0, thread)))
		return slot;
	return bpf_task_storage_get(&calls_in_progress, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/*
 * A thread ends, maybe within a call. One that executes a program takes over the id of the first
 * thread of its process, and leaves a slot behind that stays taken.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(free_slot, struct task_struct *task)
{
	struct call_in_progress *slot = slot_of(task);

	if (!slot || slot->thread != (__u32)task->pid)
		return 0;
	slot->call = CALL_NONE;
	__sync_lock_test_and_set(&slot->thread, 0);
	return 0;
}

#endif
