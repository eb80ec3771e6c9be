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
static __always_inline bool is_sum_of_arguments(const struct telling *it)
{
	const __u64 calls = 1ULL << CALL_SENDMMSG | 1ULL << CALL_RECVMMSG | 1ULL << CALL_SPLICE |
			    1ULL << CALL_TEE;
	__u16 family = it->connection->family;

	if (calls >> it->record->call & 1)
		return true;
	/* To whom, where the socket does not know it. */
	return !it->connection->remote_port && (family == AF_INET || family == AF_INET6);
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

/* Fills in what is in the key besides the connection, and takes out of that what sums are not by. */
static __always_inline void fill_sum_key(const struct telling *it)
{
	struct call_connection *connection = it->connection;
	const struct call_extra *extra = &it->work->extra;
	const struct call_record *record = it->record;
	struct sum_key *key = &it->work->sum.key;
	const bool by_service = settings.flags & BY_SERVICE;

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
		__builtin_memcpy(connection->remote_address, extra->address, ADDRESS_LENGTH);
		connection->remote_port = extra->address_port;
	}
	if (by_service && connection->is_passive)
		connection->remote_port = 0;
	else if (by_service)
		connection->local_port = 0;
}

/*
 * A number for a key: the table's own function takes several times as long for so many bytes. The
 * words are multiplied by odd numbers at random, each by another one.
 */
static __always_inline __u64 number_of_key(const struct sum_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 number;

	_Static_assert(__builtin_offsetof(struct sum_key, connection.socket_cookie) == 32, "is 0");
	_Static_assert(__builtin_offsetof(struct sum_key, reserved) == 68, "is 0");
	number = words[0] * 0x9e3779b97f4a7c15ULL + words[1] * 0xc2b2ae3d27d4eb4fULL +
		 words[2] * 0xd6e8feb86659fd93ULL + words[3] * 0xa0761d6478bd642fULL +
		 words[5] * 0xe7037ed1a0b428dbULL + words[6] * 0x8ebc6af09c88c6e3ULL +
		 words[7] * 0x589965cc75374cc3ULL + words[8] * 0x1d8e4e27c47d124fULL;
	return number ^ number >> 32;
}

static __always_inline bool is_same_key(const struct sum_key *one, const struct sum_key *other)
{
	const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[5] ^ b[5]) |
		 (a[6] ^ b[6]) | (a[7] ^ b[7]) | (a[8] ^ b[8]));
}

static __always_inline struct call_sum *find_sum(__u64 number, bool odd)
{
	struct call_sum *sum;

	if (!odd)
		return bpf_map_lookup_elem(&sums_even, &number);
	sum = bpf_map_lookup_elem(&sums_odd, &number);
	/*
	 * So two calls stay two: of one that is about either table the verifier makes a call of what any
	 * table is looked up by.
	 */
	barrier_var(sum);
	return sum;
}

static __always_inline struct call_sum *begin_sum(const struct telling *it, __u64 number,
						  struct task_struct *task, bool odd)
{
	struct call_record *record = it->record;
	struct call_sum *sum = &it->work->sum;

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
		bpf_map_update_elem(&sums_odd, &number, sum, BPF_NOEXIST);
	else
		bpf_map_update_elem(&sums_even, &number, sum, BPF_NOEXIST);
	return find_sum(number, odd);
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
static __always_inline void add_to_sum(const struct telling *it, struct task_struct *task,
				       struct pt_regs *regs)
{
	struct call_record *record = it->record;
	struct sum_key *key = &it->work->sum.key;
	bool odd = control.epoch & 1;
	struct call_sum *sum;
	__u64 number, bytes;
	__u32 place = 0;

	if (task)
		record->pid = number_of(task);
	fill_sum_key(it);
	number = number_of_key(key);
	sum = find_sum(number, odd);
	if (!sum)
		sum = begin_sum(it, number, task, odd);
	/* Of two keys with one number, which nobody will ever see, the other one has no room. */
	if (!sum || !is_same_key(&sum->key, key)) {
		count(COUNT_SUMS_FULL);
		return;
	}
	if (!(record->flags & RECORD_BEGAN_BEFORE))
		place = latency_place(record->duration_ns);
	if (place < LATENCIES)
		__sync_fetch_and_add(&sum->latencies[place], 1);
	__sync_fetch_and_add(&sum->duration_ns, record->duration_ns);
	bytes = record->flags & RECORD_TRANSFERRED ? it->work->extra.transferred :
		record->result > 0		   ? record->result :
						     0;
	if (bytes && !(regs && only_looks(record->call, regs)))
		__sync_fetch_and_add(&sum->bytes, bytes);
}

#endif
