/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Adding to flows.
 */
#ifndef NETGLASS_STREAM_FLOW_H
#define NETGLASS_STREAM_FLOW_H

static __always_inline bool is_wanted(const struct sock *sk)
{
	return !settings.wanted_namespace || sk->__sk_common.skc_net.net->ns.inum == settings.wanted_namespace;
}

static __always_inline void map_address(__u8 *to, __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void local_address(__u8 *to, const struct sock *sk)
{
	const struct in6_addr *address = &sk->__sk_common.skc_v6_rcv_saddr;

	if (sk->__sk_common.skc_family == AF_INET)
		map_address(to, sk->__sk_common.skc_rcv_saddr);
	else
		for (int word = 0; word < 4; word++)
			((__u32 *)to)[word] = address->in6_u.u6_addr32[word];
}

static __always_inline void peer_address(__u8 *to, const struct sock *sk)
{
	const struct in6_addr *address = &sk->__sk_common.skc_v6_daddr;

	if (sk->__sk_common.skc_family == AF_INET)
		map_address(to, sk->__sk_common.skc_daddr);
	else
		for (int word = 0; word < 4; word++)
			((__u32 *)to)[word] = address->in6_u.u6_addr32[word];
}

static __always_inline bool is_port_bound(const struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/* By the errno of an attempt that did not become a connection. */
static __always_inline enum failure failure_of(int error)
{
	switch (error) {
	case 0:
		return FAILURE_ABANDONED;
	case ECONNREFUSED:
		return FAILURE_REFUSED;
	case ETIMEDOUT:
		return FAILURE_TIMED_OUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return FAILURE_UNREACHABLE;
	case ECONNRESET:
		return FAILURE_RESET;
	default:
		return FAILURE_OTHER;
	}
}

#define ADD(member)                                                                                \
	if (more->member)                                                                          \
		__sync_fetch_and_add(&counters->member, more->member)

static __always_inline void add_counters(struct flow_counters *counters,
					 const struct flow_counters *more)
{
	ADD(sightings);
	ADD(connections);
	ADD(opened);
	ADD(bytes_sent);
	ADD(bytes_received);
	ADD(segments_sent);
	ADD(segments_received);
	ADD(retransmits);
	ADD(rtt_sum_us);
	ADD(rtt_samples);
	for (int kind = 0; kind < FAILURES; kind++)
		ADD(failed[kind]);
}

#undef ADD

static __always_inline int add_to_table(void *table, const struct flow_key *key,
					const struct flow_counters *more)
{
	struct flow_counters *counters = bpf_map_lookup_elem(table, key);
	long error;

	if (!counters) {
		error = bpf_map_update_elem(table, key, more, BPF_NOEXIST);
		if (error != -EEXIST)
			return error;
		/* Another processor was faster. */
		counters = bpf_map_lookup_elem(table, key);
		if (!counters)
			return -EEXIST;
	}
	add_counters(counters, more);
	return 0;
}

/* include/uapi/asm-generic/errno-base.h: what a table that is full says. */
#define E2BIG 7

/*
 * Adds to the flow in the table that all processors share. Not static, as others below: the verifier
 * looks at it once, and not on each way that leads here.
 */
__noinline int add_to_shared(const struct flow_key *key, const struct flow_counters *more,
			     __u32 epoch)
{
	long error;

	if (!key || !more)
		return 0;
	if (epoch & 1)
		error = add_to_table(&flows_odd, key, more);
	else
		error = add_to_table(&flows_even, key, more);
	if (error)
		count_many(epoch, error == -E2BIG ? COUNT_FLOWS_FULL : COUNT_FLOWS_BUSY,
			   more->sightings);
	return 0;
}

#define KEY_WORDS (sizeof(struct flow_key) / sizeof(__u64))

/* Where a flow has its place on each processor. */
static __always_inline __u32 place_of(const struct flow_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 mixed = 0;

	/* None of the products waits for another one. */
	for (int word = 0; word < KEY_WORDS; word++)
		mixed += words[word] * (2 * word + 3);
	mixed ^= mixed >> 32;
	/* The golden ratio's fraction, which spreads what is close together. */
	return mixed * 0x9e3779b97f4a7c15ULL >> 58;
}

_Static_assert(RECENT_FLOWS == 1 << (64 - 58), "place_of gives so many places");

static __always_inline bool is_same(const struct flow_key *one, const struct flow_key *other)
{
	const __u64 *words = (const __u64 *)one, *others = (const __u64 *)other;
	__u64 difference = 0;

	for (int word = 0; word < KEY_WORDS; word++)
		difference |= words[word] ^ others[word];
	return !difference;
}

/* On one processor, by one program at a time. */
static __always_inline void add_alone(struct flow_counters *counters,
				      const struct flow_counters *more)
{
	__u64 *numbers = (__u64 *)counters;
	const __u64 *others = (const __u64 *)more;

	for (int number = 0; number < sizeof(*counters) / sizeof(__u64); number++)
		numbers[number] += others[number];
}

__noinline int add_to_flow(const struct flow_key *key, const struct flow_counters *more,
			   __u32 epoch)
{
	struct recent_flows *flows;
	struct recent_flow *recent;
	__u32 parity = epoch & 1;

	if (!key || !more)
		return 0;
	count_one(epoch, COUNT_SIGHTINGS);
	flows = bpf_map_lookup_elem(&recent_flows, &parity);
	if (!flows)
		return add_to_shared(key, more, epoch);
	recent = &flows->flows[place_of(key) & (RECENT_FLOWS - 1)];
	if (recent->is_taken)
		return add_to_shared(key, more, epoch);
	*(volatile __u32 *)&recent->is_taken = 1;
	barrier();
	if (recent->counters.sightings && !is_same(&recent->key, key)) {
		/* Another flow has the place: it makes way. */
		add_to_shared(&recent->key, &recent->counters, epoch);
		recent->counters.sightings = 0;
	}
	if (recent->counters.sightings) {
		add_alone(&recent->counters, more);
	} else {
		recent->key = *key;
		recent->counters = *more;
	}
	barrier();
	*(volatile __u32 *)&recent->is_taken = 0;
	return 0;
}

/* A sighting that cannot be added to any flow. */
static __always_inline void lose(enum count reason)
{
	__u32 epoch = current_epoch();

	count_one(epoch, COUNT_SIGHTINGS);
	count_one(epoch, reason);
}

#endif
