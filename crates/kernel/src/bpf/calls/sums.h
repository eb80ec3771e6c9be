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
	const __u64 always = 1ULL << CALL_SENDMMSG | 1ULL << CALL_RECVMMSG | 1ULL << CALL_SPLICE |
			     1ULL << CALL_TEE;
	const __u64 named = 1ULL << CALL_BIND | 1ULL << CALL_CONNECT | 1ULL << CALL_SENDTO |
			    1ULL << CALL_SENDMSG | 1ULL << CALL_RECVFROM | 1ULL << CALL_RECVMSG;
	__u16 family = it->connection->family;
	__u8 call = it->record->call;

	if (always >> call & 1)
		return true;
	/* With whom, where the socket does not know it. */
	return named >> call & 1 && !it->connection->remote_port &&
	       (family == AF_INET || family == AF_INET6);
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

/* What the sum of a call is found by. */
static __always_inline void make_key(struct sum_key *key, const struct telling *it)
{
	const struct call_connection *connection = it->connection;
	const struct call_record *record = it->record;
	const bool by_service = settings.flags & BY_SERVICE;
	union address remote_address = connection->remote_address;
	__u64 local_port = connection->local_port, remote_port = connection->remote_port;
	__u64 error = record->result < 0 ? -record->result : 0;
	__u64 flags = record->flags & RECORD_CONNECTION ? SUM_CONNECTION : 0;

	if (record->flags & RECORD_TAKEN_FROM)
		flags |= SUM_TAKEN_FROM;
	/* What the socket does not know, the call may have named. */
	if (record->flags & RECORD_ADDRESS && !remote_port && record->call != CALL_BIND) {
		remote_address = it->work->extra.address;
		remote_port = it->work->extra.address_port;
	}
	if (by_service && connection->is_passive)
		remote_port = 0;
	else if (by_service)
		local_port = 0;
	key->words[0] = connection->local_address.words[0];
	key->words[1] = connection->local_address.words[1];
	key->words[2] = remote_address.words[0];
	key->words[3] = remote_address.words[1];
	key->words[4] = connection->network_namespace | local_port << 32 | remote_port << 48;
	key->words[5] = connection->family | (__u64)connection->protocol << 16 |
			(__u64)connection->type << 32 | (__u64)connection->is_passive << 56;
	key->words[6] = record->pid | (by_service ? ~0ULL : (__u32)record->fd) << 32;
	key->words[7] = error | (__u64)record->call << 16 | flags << 24;
}

/*
 * A number for a key: a sum of products of its words, to each of which another number at random is
 * added (Lemire and Kaser, "Strongly universal string hashing is fast", 2014: Multilinear-HM). The
 * table's own function takes several times as long for so many bytes.
 */
static __always_inline __u64 number_of_key(const struct sum_key *key)
{
	const __u64 *words = key->words;

	return (words[0] + 0x9e3779b97f4a7c15ULL) * (words[1] + 0xc2b2ae3d27d4eb4fULL) +
	       (words[2] + 0xd6e8feb86659fd93ULL) * (words[3] + 0xa0761d6478bd642fULL) +
	       (words[4] + 0xe7037ed1a0b428dbULL) * (words[5] + 0x8ebc6af09c88c6e3ULL) +
	       (words[6] + 0x589965cc75374cc3ULL) * (words[7] + 0x1d8e4e27c47d124fULL);
}

static __always_inline bool is_same_key(const struct sum_key *one, const struct sum_key *other)
{
	const __u64 *a = one->words, *b = other->words;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		 (a[5] ^ b[5]) | (a[6] ^ b[6]) | (a[7] ^ b[7]));
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

/* Begins the sum of a caller, who is the current process if none is given. */
static __always_inline struct call_sum *begin_sum(const struct sum_key *key, __u64 number,
						  struct call_record *caller, bool odd)
{
	__u32 first = 0;
	struct work *it = bpf_map_lookup_elem(&work, &first);
	struct call_sum *sum;

	if (!it)
		return NULL;
	sum = &it->sum;
	sum->process_start = 0;
	sum->pgid = 0;
	if (!caller) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct task_struct *leader = task->group_leader;
		struct pid *group = BPF_CORE_READ(leader, signal, pids[PIDTYPE_PGID]);

		caller = &it->record;
		describe_process(caller, task);
		sum->process_start = leader->start_boottime;
		sum->pgid = pid_number(group, level_of_reader);
	}
	sum->key = *key;
	sum->ppid = caller->ppid;
	sum->uid = caller->uid;
	__builtin_memcpy(sum->comm, caller->comm, COMM_LENGTH);
	__builtin_memcpy(sum->parent_comm, caller->parent_comm, COMM_LENGTH);
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

/* What stands for the duration of a call that began before it was watched. */
#define NOT_KNOWN (~0ULL)

/*
 * Adds a call to its sum, whose caller is the current process if none is given. The verifier looks at
 * this once and not for each way that leads here, since it is a function that takes nothing for
 * granted.
 */
__noinline int add_to_sum(const struct sum_key *key, struct call_record *caller, __u64 duration_ns,
			  __u64 bytes)
{
	bool odd = control.epoch & 1;
	struct call_sum *sum;
	__u32 place = 0;
	__u64 number;

	if (!key)
		return 0;
	number = number_of_key(key);
	sum = find_sum(number, odd);
	if (!sum)
		sum = begin_sum(key, number, caller, odd);
	/* Of two keys with one number, which nobody will ever see, the other one has no room. */
	if (!sum || !is_same_key(&sum->key, key)) {
		count(COUNT_SUMS_FULL);
		return 0;
	}
	if (duration_ns != NOT_KNOWN) {
		place = latency_place(duration_ns);
		__sync_fetch_and_add(&sum->duration_ns, duration_ns);
	}
	if (place < LATENCIES)
		__sync_fetch_and_add(&sum->latencies[place], 1);
	if (bytes)
		__sync_fetch_and_add(&sum->bytes, bytes);
	return 0;
}

/* Adds a call up. Of registers that are given it is seen whether bytes count. */
static __always_inline void add_up(const struct telling *it, struct call_record *caller,
				   struct pt_regs *regs)
{
	const struct call_record *record = it->record;
	const bool is_known = !(record->flags & RECORD_BEGAN_BEFORE);
	struct sum_key key;
	__u64 bytes;

	make_key(&key, it);
	bytes = record->flags & RECORD_TRANSFERRED ? it->work->extra.transferred :
		record->result > 0		   ? record->result :
						     0;
	if (bytes && regs && only_looks(record->call, regs))
		bytes = 0;
	add_to_sum(&key, caller, is_known ? record->duration_ns : NOT_KNOWN, bytes);
}

#endif
