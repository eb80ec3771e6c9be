/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls that have not returned for long: an iterator over all threads, which the reader runs.
 */
#ifndef NETGLASS_CALLS_PENDING_H
#define NETGLASS_CALLS_PENDING_H

#define PENDING_NS 1000000000ULL

struct pending {
	struct call_record record;
	struct work work;
};

/* A tracepoint may interrupt the iterator, so it works in a place of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pending);
} pending SEC(".maps");

SEC("iter/task")
int list_pending(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct call_in_progress *progress;
	struct call_record *record;
	struct file *file = NULL;
	struct telling telling;
	struct call_connection connection = {};
	struct pending *it;
	struct pt_regs *regs;
	__u32 first = 0, call;
	__u64 now;

	/* Before anything is attached it is run once, and tells so in whose words ids are read. */
	if (!ctx->meta->seq_num)
		level_of_reader = reader_level();
	if (!task)
		return 0;
	progress = find_progress(task);
	if (!progress || progress->is_told)
		return 0;
	call = progress->call;
	now = bpf_ktime_get_ns();
	if (!call || now < progress->entered_ns + PENDING_NS)
		return 0;
	it = bpf_map_lookup_elem(&pending, &first);
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (!it)
		return 0;
	record = &it->record;
	telling = (struct telling){
		.record = record,
		.connection = &connection,
		.work = &it->work,
	};
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
		read_connection(file, telling.connection);
		record->flags |= RECORD_CONNECTION;
	}
	read_arguments(&telling, regs);
	describe_process(record, task);
	if (!is_record_selected(&telling)) {
		progress->is_told = 1;
		return 0;
	}
	put_connection(&telling);
	/* Where there is no room, all of it is written the next time. */
	if (bpf_seq_write(ctx->meta->seq, record, sizeof(*record)))
		return 0;
	if (record->flags & RECORD_EXTRA &&
	    bpf_seq_write(ctx->meta->seq, &it->work.extra, sizeof(it->work.extra)))
		return 0;
	progress->is_told = 1;
	return 0;
}

#endif
