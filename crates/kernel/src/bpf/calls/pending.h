/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls that have not returned for long: an iterator over all threads, which the reader runs.
 */
#ifndef NETGLASS_CALLS_PENDING_H
#define NETGLASS_CALLS_PENDING_H

#define PENDING_NS 1000000000ULL

/* A tracepoint may interrupt the iterator, so it works in a place of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} pending_work SEC(".maps");

SEC("iter/task")
int list_pending(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct call_in_progress *progress;
	struct call_record *record;
	struct pt_regs *regs;
	struct file *file = NULL;
	struct work *work;
	__u32 first = 0, call;
	__u64 now;

	/* Before anything is attached it is run once, and tells so in whose words ids are read. */
	if (!ctx->meta->seq_num)
		level_of_reader = reader_level();
	if (!task)
		return 0;
	progress = bpf_task_storage_get(&calls_in_progress, task, 0, 0);
	if (!progress || progress->is_told)
		return 0;
	call = progress->call;
	now = bpf_ktime_get_ns();
	if (!call || now < progress->entered_ns + PENDING_NS)
		return 0;
	work = bpf_map_lookup_elem(&pending_work, &first);
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (!work)
		return 0;
	record = &work->record;
	__builtin_memset(record, 0, sizeof(*record));
	record->kind = RECORD_PENDING;
	record->call = call;
	record->time_ns = now;
	record->duration_ns = now - progress->entered_ns;
	record->fd = -1;
	if (waits(call)) {
		if (call >= CALL_EPOLL_WAIT)
			record->fd = FIRST_ARGUMENT(regs);
	} else if (!makes_socket(call)) {
		record->fd = socket_descriptor(task, call, regs, &file);
	}
	if (file) {
		read_connection(file, &record->connection);
		record->flags |= RECORD_CONNECTION;
	}
	read_arguments(work, regs);
	describe_process(record, task);
	if (!is_record_selected(record) || !bpf_seq_write(ctx->meta->seq, record, sizeof(*record)))
		progress->is_told = 1;
	return 0;
}

#endif
