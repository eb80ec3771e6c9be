/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Adding packets to their flows.
 */
#ifndef NETGLASS_AGGREGATE_COUNT_H
#define NETGLASS_AGGREGATE_COUNT_H

/* include/uapi/asm-generic/errno-base.h: what a table that is full says. */
#define E2BIG 7
#define EEXIST 17

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132

#define FIN 0x01
#define SYN 0x02
#define RST 0x04

/* What a packet says that concerns its flow. */
struct packet {
	__u64 source[2];
	__u64 destination[2];
	__u32 wire_length;
	__u32 identification;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 version;
	bool is_fragment;
	bool is_later_fragment;
	/* Of TCP, if its header is there. */
	bool is_segment;
	__u8 flags;
	__u32 sequence;
	__u32 acknowledgment;
	__u32 payload;
};

static const struct flow_sums nothing;

/* Wakes the reader, once, when so many flows have come that there might be no room for more. */
static __always_inline void note_new_flow(__u32 epoch)
{
	__u32 first = 0, parity = epoch & 1;
	__u32 *flows = bpf_map_lookup_elem(&filled, &parity);
	struct control *set = bpf_map_lookup_elem(&control, &first);
	__u32 reason = 0;

	if (flows && set && __sync_fetch_and_add(flows, 1) == set->wake_at)
		bpf_ringbuf_output(&wakeups, &reason, sizeof(reason), BPF_RB_FORCE_WAKEUP);
}

static __always_inline struct flow_sums *find_flow(void *table, const struct flow_key *key,
						   __u32 epoch)
{
	struct flow_sums *sums = bpf_map_lookup_elem(table, key);
	long error;

	if (sums)
		return sums;
	error = bpf_map_update_elem(table, key, &nothing, BPF_NOEXIST);
	if (!error)
		note_new_flow(epoch);
	else if (error != -EEXIST)
		count_one(epoch, error == -E2BIG ? COUNT_FLOWS_FULL : COUNT_FLOWS_BUSY);
	else
		/* Another processor was faster. */
		error = 0;
	if (error)
		return 0;
	sums = bpf_map_lookup_elem(table, key);
	if (!sums)
		count_one(epoch, COUNT_FLOWS_BUSY);
	return sums;
}

static __always_inline void add_step(struct flow_sums *sums, const struct packet *packet,
				     __u8 sender, __u64 now)
{
	__u32 index = __sync_fetch_and_add(&sums->steps_taken, 1);
	struct step *step;

	/* The verifier does not see a bound through a choice. */
	if (index >= STEPS)
		index = STEPS - 1;
	barrier_var(index);
	step = &sums->steps[index & (STEPS - 1)];
	step->at = now;
	step->sequence = packet->sequence;
	step->acknowledgment = packet->acknowledgment;
	step->packets[0] = sums->packets[0];
	step->packets[1] = sums->packets[1];
	step->bytes[0] = sums->bytes[0];
	step->bytes[1] = sums->bytes[1];
	step->payload = packet->payload;
	step->wire_length = packet->wire_length;
	step->flags = packet->flags;
	step->sender = sender;
}

static __always_inline void set_marks(struct flow_sums *sums, __u32 marks)
{
	if ((sums->marks & marks) != marks)
		__sync_fetch_and_or(&sums->marks, marks);
}

static __always_inline void follow_segment(struct flow_sums *sums, const struct packet *packet,
					   __u8 sender, __u64 now)
{
	__u32 own = MARK_AWAITED << sender, other = MARK_AWAITED << (1 - sender);

	if (packet->flags & (SYN | FIN | RST) || sums->marks & own) {
		add_step(sums, packet, sender, now);
		if (sums->marks & own)
			__sync_fetch_and_and(&sums->marks, ~own);
		if (packet->flags & (SYN | FIN))
			set_marks(sums, other);
		return;
	}
	set_marks(sums, (__u32)packet->flags << (sender * 8) | (packet->payload ? MARK_DATA : 0));
}

/* Whether the second endpoint of the key is the sender. */
static __always_inline __u8 fill_key(struct flow_key *key, const struct packet *packet,
				     __u32 interface)
{
	bool is_message = packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
	bool is_second = false;

	if (!is_message) {
		if (packet->source[1] != packet->destination[1])
			is_second = packet->source[1] > packet->destination[1];
		else if (packet->source[0] != packet->destination[0])
			is_second = packet->source[0] > packet->destination[0];
		else
			is_second = packet->source_port > packet->destination_port;
	}
	for (int word = 0; word < 2; word++) {
		key->first_address[word] = is_second ? packet->destination[word] : packet->source[word];
		key->second_address[word] = is_second ? packet->source[word] : packet->destination[word];
	}
	key->first_port = is_second ? packet->destination_port : packet->source_port;
	key->second_port = is_second ? packet->source_port : packet->destination_port;
	key->interface = interface;
	key->protocol = packet->protocol;
	key->version = packet->version;
	return is_second;
}

/* Not static, as others below: the verifier looks at it once, and not on each way that leads here. */
__noinline int count_packet(struct packet *packet, __u32 interface, __u32 epoch)
{
	struct flow_key key = {};
	struct flow_sums *sums;
	__u64 now = bpf_ktime_get_boot_ns();
	__u8 sender;

	if (!packet)
		return 0;
	sender = fill_key(&key, packet, interface) & 1;
	if (epoch & 1)
		sums = find_flow(&flows_odd, &key, epoch);
	else
		sums = find_flow(&flows_even, &key, epoch);
	if (!sums) {
		count_many(epoch, COUNT_BYTES_LEFT_OUT, packet->wire_length);
		return 0;
	}
	if (!sums->began && !__sync_val_compare_and_swap(&sums->began, 0, now) && sender)
		__sync_fetch_and_or(&sums->marks, MARK_SECOND_BEGAN);
	if (packet->is_segment)
		follow_segment(sums, packet, sender, now);
	__sync_fetch_and_add(&sums->packets[sender], 1);
	__sync_fetch_and_add(&sums->bytes[sender], packet->wire_length);
	if (sums->last < now)
		*(volatile __u64 *)&sums->last = now;
	return 0;
}

#endif
