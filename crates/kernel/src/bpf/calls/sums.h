/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Calls that are added up rather than told of: by process, call, error and connection.
 */
#ifndef NETGLASS_CALLS_SUMS_H
#define NETGLASS_CALLS_SUMS_H

/* Whether calls are added up now. */
static __always_inline bool adds_up(void)
{
	if (settings.flags & ADD_UP)
		return true;
	return settings.flags & ADD_UP_WHEN_FULL && *(volatile __u32 *)&adds_up_since_full;
}

/* Whether what a call was given has a part in its sum. */
static __always_inline bool is_sum_of_arguments(const struct call_record *record)
{
	const __u64 calls = 1ULL << CALL_SENDMMSG | 1ULL << CALL_RECVMMSG | 1ULL << CALL_SPLICE |
			    1ULL << CALL_TEE;
	__u16 family = record->connection.family;

	if (calls >> record->call & 1)
		return true;
	/* To whom, where the socket does not know it. */
	return !record->connection.remote_port && (family == AF_INET || family == AF_INET6);
}

/* The place of a duration among the latencies. */
static __always_inline __u32 latency_place(__u64 duration_ns)
{
	__u64 rest = duration_ns >> LATENCY_FIRST_POWER;
	__u32 power = LATENCY_FIRST_POWER;

	if (!rest)
		return 1;
	if (rest >> LATENCY_POWERS)
		return LATENCIES - 1;
	if (rest >> 16) {
		rest >>= 16;
		power += 16;
	}
	if (rest >> 8) {
		rest >>= 8;
		power += 8;
	}
	if (rest >> 4) {
		rest >>= 4;
		power += 4;
	}
	if (rest >> 2) {
		rest >>= 2;
		power += 2;
	}
	power += rest >> 1;
	return 2 + (power - LATENCY_FIRST_POWER) * LATENCY_PARTS +
	       (duration_ns >> (power - 2)) % LATENCY_PARTS;
}

static __always_inline void fill_sum_key(struct sum_key *key, const struct call_record *record)
{
	struct call_connection *connection = &key->connection;
	const bool by_service = settings.flags & BY_SERVICE;

	*connection = record->connection;
	connection->socket_cookie = 0;
	connection->state = 0;
	key->pid = record->pid;
	key->fd = by_service ? -1 : record->fd;
	key->error = record->result < 0 ? -record->result : 0;
	key->call = record->call;
	key->flags = record->flags & RECORD_CONNECTION ? SUM_CONNECTION : 0;
	if ((record->call == CALL_SPLICE || record->call == CALL_TEE) &&
	    record->fd == (__s32)record->details[0])
		key->flags |= SUM_TAKEN_FROM;
	/* What the socket does not know, the call may have named. */
	if (record->flags & RECORD_ADDRESS && !connection->remote_port &&
	    record->call != CALL_BIND) {
		__builtin_memcpy(connection->remote_address, record->address, ADDRESS_LENGTH);
		connection->remote_port = record->address_port;
	}
	if (by_service && connection->is_passive)
		connection->remote_port = 0;
	else if (by_service)
		connection->local_port = 0;
}

static __always_inline struct call_sum *find_sum(const struct sum_key *key, bool odd)
{
	/* Each by itself, which the verifier turns into fewer steps than one of two. */
	return odd ? bpf_map_lookup_elem(&sums_odd, key) : bpf_map_lookup_elem(&sums_even, key);
}

static __always_inline struct call_sum *begin_sum(struct work *work, struct task_struct *task,
						  bool odd)
{
	struct call_record *record = &work->record;
	struct call_sum *sum = &work->sum;

	sum->process_start = 0;
	sum->pgid = 0;
	if (task) {
		struct task_struct *leader = task->group_leader;
		struct pid *group = BPF_CORE_READ(leader, signal, pids[PIDTYPE_PGID]);

		describe_process(record, task);
		sum->process_start = leader->start_boottime;
		sum->pgid = pid_number(group, level_of_reader);
	}
	sum->ppid = record->ppid;
	sum->uid = record->uid;
	__builtin_memcpy(sum->comm, record->comm, COMM_LENGTH);
	__builtin_memcpy(sum->parent_comm, record->parent_comm, COMM_LENGTH);
	/* Another processor may do the same at this moment, and one of them comes first. */
	if (odd)
		bpf_map_update_elem(&sums_odd, &work->sum_key, sum, BPF_NOEXIST);
	else
		bpf_map_update_elem(&sums_even, &work->sum_key, sum, BPF_NOEXIST);
	return find_sum(&work->sum_key, odd);
}

/* Whether a call leaves where it is what it receives, so that it is received once more. */
static __always_inline bool only_looks(__u32 call, struct pt_regs *regs)
{
	__u64 third = THIRD_ARGUMENT(regs), fourth = FOURTH_ARGUMENT(regs);

	/* Registers are read by offsets that the verifier has to know. */
	barrier_var(third);
	barrier_var(fourth);
	if (call == CALL_RECVMSG)
		return third & MSG_PEEK;
	return (call == CALL_RECVFROM || call == CALL_RECVMMSG) && fourth & MSG_PEEK;
}

/*
 * Adds a call to its sum. Of a task that is given, what is not in the record yet is read; of
 * registers whether bytes count.
 */
static __always_inline void add_to_sum(struct work *work, struct task_struct *task,
				       struct pt_regs *regs)
{
	struct call_record *record = &work->record;
	struct sum_key *key = &work->sum_key;
	bool odd = control.epoch & 1;
	struct call_sum *sum;
	__u32 place = 0;
	__u64 bytes;

	if (task)
		record->pid = number_of(task->group_leader);
	fill_sum_key(key, record);
	sum = find_sum(key, odd);
	if (!sum)
		sum = begin_sum(work, task, odd);
	if (!sum) {
		count(COUNT_SUMS_FULL);
		return;
	}
	if (!(record->flags & RECORD_BEGAN_BEFORE))
		place = latency_place(record->duration_ns);
	if (place < LATENCIES)
		__sync_fetch_and_add(&sum->latencies[place], 1);
	__sync_fetch_and_add(&sum->duration_ns, record->duration_ns);
	bytes = record->flags & RECORD_TRANSFERRED ? record->transferred :
		record->result > 0		   ? record->result :
						     0;
	if (bytes && !(regs && only_looks(record->call, regs)))
		__sync_fetch_and_add(&sum->bytes, bytes);
}

#endif
