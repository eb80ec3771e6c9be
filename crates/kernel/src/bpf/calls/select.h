/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose calls are told of, and on which connections.
 */
#ifndef NETGLASS_CALLS_SELECT_H
#define NETGLASS_CALLS_SELECT_H

/* The process of a task as the reader knows it. */
static __always_inline __u32 number_of(struct task_struct *task)
{
	__u32 level = level_of_reader;

	return level ? pid_number(task->group_leader->thread_pid, level) : (__u32)task->tgid;
}

/* Whether it is the process that reads what is told here: its own calls are not told of. */
static __always_inline bool is_reader(struct task_struct *task)
{
	return number_of(task) == settings.reader;
}

static __always_inline bool is_in_selected_cgroup(void)
{
	for (__u32 i = 0; i < MAX_CGROUPS; i++) {
		if (i >= settings.cgroup_count)
			return false;
		if (bpf_get_current_ancestor_cgroup_id(settings.cgroups[i].level) ==
		    settings.cgroups[i].id)
			return true;
	}
	return false;
}

/* Whether the process of the current task is selected. */
static __always_inline bool is_selected(struct task_struct *task)
{
	const __u32 flags = settings.flags;
	const __u32 by_number = SELECT_PIDS | SELECT_NOT_PIDS | SELECT_FOLLOWED | FOLLOW_CHILDREN;
	const __u32 by_comm = SELECT_COMMS | SELECT_NOT_COMMS;
	bool selected = true;
	struct comm_key comm;
	__u32 number = 0;

	/* What the verifier knows to be so leaves nothing of the rest. */
	if (!(flags & SELECT_PROCESSES) && !settings.cgroup_count)
		return true;
	if (flags & by_number)
		number = number_of(task);
	if (flags & SELECT_PIDS)
		selected = bpf_map_lookup_elem(&selected_pids, &number);
	if (flags & by_comm)
		bpf_probe_read_kernel(&comm, sizeof(comm), task->group_leader->comm);
	if (selected && flags & SELECT_COMMS)
		selected = bpf_map_lookup_elem(&selected_comms, &comm);
	if (selected && flags & SELECT_UIDS) {
		__u32 uid = bpf_get_current_uid_gid();

		selected = bpf_map_lookup_elem(&selected_uids, &uid);
	}
	if (selected && settings.cgroup_count)
		selected = is_in_selected_cgroup();
	if (flags & SELECT_FOLLOWED)
		selected = false;
	if (!selected && flags & FOLLOW_CHILDREN)
		selected = bpf_map_lookup_elem(&followed, &number);
	if (selected && flags & SELECT_NOT_PIDS)
		selected = !bpf_map_lookup_elem(&other_pids, &number);
	if (selected && flags & SELECT_NOT_COMMS)
		selected = !bpf_map_lookup_elem(&other_comms, &comm);
	return selected;
}

static __always_inline bool has_prefix(const union address *address)
{
	const __u64 *words = address->words;

	for (__u32 i = 0; i < MAX_PREFIXES; i++) {
		const volatile __u64 *prefix, *mask;

		if (i >= settings.prefix_count)
			return false;
		prefix = settings.prefixes[i].address.words;
		mask = settings.prefixes[i].mask.words;
		if ((words[0] & mask[0]) == prefix[0] && (words[1] & mask[1]) == prefix[1])
			return true;
	}
	return false;
}

static __always_inline bool has_selected_port(__u16 port)
{
	__u32 key = port;

	return port && bpf_map_lookup_elem(&selected_ports, &key);
}

/* Whether a call is told of, by what is in its record. */
static __always_inline bool is_record_selected(const struct telling *it)
{
	const struct call_connection *connection = it->connection;
	const struct call_extra *extra = &it->work->extra;
	const struct call_record *record = it->record;
	const __u32 flags = settings.flags;
	bool named = record->flags & RECORD_ADDRESS;

	if (flags & ONLY_ERRORS && record->kind == RECORD_RETURN && record->result >= 0)
		return false;
	/* Where several are waited for, or the descriptor was closed, there is no connection. */
	if (connection->family && !(settings.families >> (connection->family & 63) & 1))
		return false;
	if (settings.namespace_count) {
		bool found = false;

		for (__u32 i = 0; i < MAX_NAMESPACES && i < settings.namespace_count; i++)
			found |= settings.namespaces[i] == connection->network_namespace;
		if (!found)
			return false;
	}
	if (flags & SELECT_PORTS && !has_selected_port(connection->local_port) &&
	    !has_selected_port(connection->remote_port) &&
	    !(named && has_selected_port(extra->address_port)))
		return false;
	if (settings.prefix_count && !has_prefix(&connection->local_address) &&
	    !has_prefix(&connection->remote_address) && !(named && has_prefix(&extra->address)))
		return false;
	return true;
}

static __always_inline void follow(__u32 number)
{
	__u8 one = 1;

	if (bpf_map_update_elem(&followed, &number, &one, BPF_ANY))
		count(COUNT_NOT_FOLLOWED);
}

/* The current process forks. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(follow_child, struct task_struct *parent, struct task_struct *child)
{
	if (child->pid != child->tgid)
		return 0;
	if (is_reader(parent)) {
		if (control.follow_next_child)
			follow(number_of(child));
	} else if (is_selected(parent)) {
		follow(number_of(child));
	}
	return 0;
}

/* The number of a process that has ended may be given to another one. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(forget_process, struct task_struct *task)
{
	__u32 number;

	if (BPF_CORE_READ(task, signal, live.counter))
		return 0;
	number = number_of(task);
	bpf_map_delete_elem(&followed, &number);
	bpf_map_delete_elem(&selected_pids, &number);
	return 0;
}

#endif
