/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * From a call to its record.
 */
#ifndef NETGLASS_CALLS_TELL_H
#define NETGLASS_CALLS_TELL_H

static __always_inline int socket_descriptor(struct task_struct *task, __u32 call,
					     struct pt_regs *regs, struct file **file)
{
	int fd = FIRST_ARGUMENT(regs);

	*file = socket_file(task, fd);
	if (*file || (call != CALL_SENDFILE && call != CALL_SPLICE && call != CALL_TEE))
		return fd;
	/* The other one of two descriptors. */
	fd = call == CALL_SPLICE ? THIRD_ARGUMENT(regs) : SECOND_ARGUMENT(regs);
	*file = socket_file(task, fd);
	return fd;
}

/*
 * Tells of a call, or adds it up. Of a task that is given, what is not in the record yet is read; of
 * registers what was sent or received.
 */
static __always_inline void tell(const struct telling *it, struct task_struct *task,
				 struct pt_regs *regs)
{
	struct call_record *record = it->record;
	__u32 rest;

	it->ring->seen++;
	if (!is_record_selected(it)) {
		count(COUNT_FILTERED);
		return;
	}
	if (adds_up()) {
		if (task)
			record->pid = number_of(task);
		add_up(it, task ? NULL : record, regs);
		return;
	}
	if (task)
		describe_process(record, task);
	rest = record->local_path_length + record->remote_path_length;
	if (rest > 2 * MAX_PATH)
		rest = 2 * MAX_PATH;
	if (settings.payload && regs) {
		__u32 payload = read_payload(it, regs, rest);

		if (payload > MAX_PAYLOAD)
			payload = MAX_PAYLOAD;
		record->payload_length = payload;
		rest += payload;
	}
	put_connection(it);
	if (hand_over(it, rest))
		return;
	if (settings.flags & ADD_UP_WHEN_FULL) {
		adds_up_since_full = 1;
		add_up(it, task ? NULL : record, regs);
	} else {
		count(COUNT_RING_FULL);
	}
}

/* After the call: which socket a successful call has made, or accepted. */
static __always_inline struct file *made_socket(struct task_struct *task, struct call_record *record,
						struct pt_regs *regs)
{
	int fds[2];

	if (record->result < 0)
		return NULL;
	if (record->call == CALL_SOCKETPAIR) {
		if (bpf_probe_read_user(fds, sizeof(fds), (void *)FOURTH_ARGUMENT(regs)))
			return NULL;
		record->fd = fds[0];
	} else if (record->call == CALL_SOCKET) {
		record->fd = record->result;
	}
	return socket_file(task, record->call == CALL_SOCKETPAIR ? fds[0] : (int)record->result);
}

static __always_inline void tell_entry(struct task_struct *task, struct pt_regs *regs, __u32 call,
				       __u64 now, int fd, struct file *file)
{
	struct call_connection connection;
	struct call_record *record;
	struct telling it;

	if (!begin_record(&it, &connection))
		return;
	record = it.record;
	record->kind = RECORD_ENTRY;
	record->result = 0;
	record->call = call;
	record->time_ns = now;
	record->fd = fd;
	if (file) {
		read_connection(file, it.connection);
		read_paths(&it, file);
		record->flags |= RECORD_CONNECTION;
	} else if (makes_socket(call)) {
		it.connection->family = FIRST_ARGUMENT(regs);
	}
	read_arguments(&it, regs);
	tell(&it, task, regs);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(enter_call, struct pt_regs *regs, long number)
{
	__u32 call = wanted_call(number);
	struct call_in_progress *progress;
	struct task_struct *task;
	struct file *file = NULL;
	int fd = -1;
	__u64 now;

	if (!call)
		return 0;
	task = bpf_get_current_task_btf();
	if (is_reader(task) || is_of_other_table(task) ||
	    !is_selected(task) || !is_about_sockets(call, regs))
		return 0;
	if (waits(call)) {
		if (call >= CALL_EPOLL_WAIT)
			fd = FIRST_ARGUMENT(regs);
	} else if (!makes_socket(call)) {
		fd = socket_descriptor(task, call, regs, &file);
		if (!file)
			return 0;
	}
	progress = place_for_progress(task);
	if (!progress)
		return 0;
	now = bpf_ktime_get_ns();
	progress->entered_ns = now;
	progress->file = (__u64)file;
	progress->fd = fd;
	progress->call = call;
	progress->is_told = 0;
	if (call == CALL_CLOSE)
		read_connection(file, &progress->connection);
	if (settings.flags & TELL_ENTRIES)
		tell_entry(task, regs, call, now, fd, file);
	return 0;
}

/* Fills in which connection a call was about. Returns whether it was about one that is followed. */
static __always_inline bool describe_connection(struct task_struct *task, struct pt_regs *regs,
						const struct telling *it,
						struct call_in_progress *progress)
{
	struct call_record *record = it->record;
	__u32 call = record->call;
	struct file *file = NULL;

	record->fd = -1;
	if (waits(call)) {
		if (call >= CALL_EPOLL_WAIT)
			record->fd = FIRST_ARGUMENT(regs);
		return true;
	}
	if (call == CALL_CLOSE) {
		/* Of what was closed before we saw it, nothing can be told. */
		if (!progress)
			return false;
		record->fd = FIRST_ARGUMENT(regs);
		*it->connection = progress->connection;
		record->flags |= RECORD_CONNECTION;
		return true;
	}
	if (makes_socket(call)) {
		file = made_socket(task, record, regs);
		if (!file)
			it->connection->family = FIRST_ARGUMENT(regs);
	} else {
		if (progress) {
			record->fd = progress->fd;
			file = AT((void *)progress->file, struct file);
			/* Another thread may have closed it meanwhile, and opened another one. */
			if (!has_descriptors_alone(task) && open_file(task, record->fd) != file)
				file = NULL;
		} else {
			record->fd = socket_descriptor(task, call, regs, &file);
			if (!file)
				return false;
		}
		if (record->result >= 0 && (call == CALL_ACCEPT || call == CALL_ACCEPT4))
			file = made_socket(task, record, regs);
	}
	if (file) {
		read_connection(file, it->connection);
		read_paths(it, file);
		record->flags |= RECORD_CONNECTION;
	}
	return true;
}

/*
 * Whether a call returns that is followed. Of one that began before it was watched there is no
 * progress.
 */
static __always_inline bool returns(struct task_struct *task, __u32 call, struct pt_regs *regs,
				    struct call_in_progress **progress)
{
	struct call_in_progress *it = find_progress(task);

	*progress = it;
	if (!it)
		return !is_reader(task) && !is_of_other_table(task) && is_selected(task) &&
		       is_about_sockets(call, regs);
	/* What is asked of a call was asked when it began. */
	if (it->call != call)
		return false;
	it->call = CALL_NONE;
	return true;
}

static __always_inline void describe_return(struct call_record *record, __u32 call, long result,
					    const struct call_in_progress *progress)
{
	record->kind = RECORD_RETURN;
	record->call = call;
	record->result = result;
	record->time_ns = bpf_ktime_get_ns();
	/* It may have begun before it was watched. */
	record->duration_ns = progress ? record->time_ns - progress->entered_ns : 0;
	if (!progress)
		record->flags |= RECORD_BEGAN_BEFORE;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(leave_call, struct pt_regs *regs, long result)
{
	__u32 call = wanted_call(SYSCALL_NUMBER(regs));
	struct call_connection connection;
	struct call_in_progress *progress;
	struct task_struct *task;
	struct telling it;

	if (!call)
		return 0;
	task = bpf_get_current_task_btf();
	if (!returns(task, call, regs, &progress) || !begin_record(&it, &connection))
		return 0;
	describe_return(it.record, call, result, progress);
	if (!describe_connection(task, regs, &it, progress))
		return 0;
	if (!adds_up() || is_sum_of_arguments(&it))
		read_arguments(&it, regs);
	tell(&it, task, regs);
	return 0;
}

/*
 * Reads what of a call's arguments has a part in its sum. Returns the flags of its record, of which
 * the verifier knows nothing then: so the ways through here are one again.
 */
static __noinline __u32 read_sum_arguments(struct work *work, struct pt_regs *regs,
					   __u32 remote_port)
{
	struct call_connection connection = { .remote_port = remote_port };
	struct telling it = { .record = &work->record, .connection = &connection, .work = work };

	work->record.kind = RECORD_RETURN;
	read_arguments(&it, regs);
	return work->record.flags;
}

/* Instead of that where all calls are added up: what is known of a call stays in registers. */
SEC("tp_btf/sys_exit")
int BPF_PROG(add_up_call, struct pt_regs *regs, long result)
{
	__u32 call = wanted_call(SYSCALL_NUMBER(regs)), first = 0;
	struct call_connection connection = {};
	struct call_in_progress *progress;
	struct call_record record = {};
	struct task_struct *task;
	struct telling it = { .record = &record, .connection = &connection };

	if (!call)
		return 0;
	task = bpf_get_current_task_btf();
	if (!returns(task, call, regs, &progress))
		return 0;
	describe_return(&record, call, result, progress);
	record.pid = number_of(task);
	if (!describe_connection(task, regs, &it, progress))
		return 0;
	if (is_sum_of_arguments(&it)) {
		it.work = bpf_map_lookup_elem(&work, &first);
		if (!it.work)
			return 0;
		it.work->record.call = call;
		it.work->record.result = result;
		it.work->record.fd = record.fd;
		it.work->record.flags = record.flags;
		record.flags = read_sum_arguments(it.work, regs, connection.remote_port);
	}
	count(COUNT_ADDED_UP);
	if (is_record_selected(&it))
		add_up(&it, NULL, regs);
	else
		count(COUNT_FILTERED);
	return 0;
}

#endif
