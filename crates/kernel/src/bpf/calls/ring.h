/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is told of calls, on its way to the reader: each processor has a ring of its own, so that
 * nobody waits for another one. A record is made at its place in the ring, and is there for the
 * reader once the ring is said to be written up to behind it.
 */
#ifndef NETGLASS_CALLS_RING_H
#define NETGLASS_CALLS_RING_H

/* How often it is looked whether the reader should be woken: once in so many places. */
#define WAKE_CHECK 64

/* The rings, those of the first processor first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record_block);
} record_blocks SEC(".maps");

/* By processor. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ring_written);
} rings_written SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ring_read);
} rings_read SEC(".maps");

/* Wakes the reader, who finds nothing in it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} doorbell SEC(".maps");

/* A call that is being told of. */
struct telling {
	struct call_record *record;
	struct call_connection *connection;
	struct work *work;
	/* Of what is not told by way of a ring there is none. */
	struct ring_written *ring;
	__u32 processor;
};

static __always_inline struct call_record *record_at(__u32 processor, __u64 place)
{
	__u32 block = processor * settings.ring_blocks +
		      (place / BLOCK_RECORDS & (settings.ring_blocks - 1));
	struct record_block *it = bpf_map_lookup_elem(&record_blocks, &block);

	if (!it)
		return NULL;
	/* What is added to a pointer is added once it is known to be one. */
	barrier_var(it);
	return &it->records[place % BLOCK_RECORDS];
}

/*
 * Begins a record at the place that is next, where there is always room for one, or beside if all calls
 * are added up. What is not read unless a flag says that it is there is not initialised. Returns
 * whether there is such a place.
 */
static __always_inline bool begin_record(struct telling *it, struct call_connection *connection)
{
	struct call_record *record;
	__u32 first = 0;

	it->processor = bpf_get_smp_processor_id();
	it->work = bpf_map_lookup_elem(&work, &first);
	it->ring = bpf_map_lookup_elem(&rings_written, &it->processor);
	if (!it->work || !it->ring)
		return false;
	if (settings.flags & ADD_UP)
		record = &it->work->record;
	else
		record = record_at(it->processor, it->ring->places);
	if (!record)
		return false;
	record->details[0] = 0;
	record->details[1] = 0;
	record->flags = 0;
	record->payload_length = 0;
	record->local_path_length = 0;
	record->remote_path_length = 0;
	record->reserved = 0;
	it->record = record;
	it->connection = connection;
	*connection = (struct call_connection){};
	return true;
}

/* Puts the connection into the record, and what has no room there behind it. */
static __always_inline void put_connection(const struct telling *it)
{
	const struct call_connection *connection = it->connection;
	struct call_extra *extra = &it->work->extra;
	struct call_record *record = it->record;

	record->state = connection->state;
	record->type = connection->type;
	record->network_namespace = connection->network_namespace;
	record->socket_cookie = connection->socket_cookie;
	record->local_port = connection->local_port;
	record->remote_port = connection->remote_port;
	record->family = connection->family;
	record->protocol = connection->protocol;
	if (connection->family == AF_INET6) {
		record->flags |= RECORD_ADDRESSES;
		record->local_address_v4 = 0;
		record->remote_address_v4 = 0;
		extra->local_address = connection->local_address;
		extra->remote_address = connection->remote_address;
	} else {
		record->local_address_v4 = connection->local_address.words[1] >> 32;
		record->remote_address_v4 = connection->remote_address.words[1] >> 32;
	}
}

/* How many places of a ring are written and not read yet. Says up to where there is room, too. */
static __always_inline __u64 unread_places(const struct telling *it)
{
	const __u64 places = settings.ring_blocks * BLOCK_RECORDS;
	struct ring_read *read = bpf_map_lookup_elem(&rings_read, &it->processor);
	__u64 done;

	if (!read)
		return places;
	done = *(volatile __u64 *)&read->places;
	/* One is left, where the next record is made. */
	it->ring->limit = done + places - 1;
	return it->ring->places - done;
}

/* Says that a ring is written up to a place: whoever reads that finds what stands before it. */
static __always_inline void set_written(struct ring_written *ring, __u64 places)
{
#if defined(__TARGET_ARCH_x86)
	/* This machine never has a write overtake another one. */
	barrier();
	*(volatile __u64 *)&ring->places = places;
#else
	__sync_fetch_and_add(&ring->places, places - ring->places);
#endif
}

static __always_inline void wake_reader(void)
{
	void *nothing = bpf_ringbuf_reserve(&doorbell, sizeof(__u64), 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/*
 * Hands over the record that was begun, with so many bytes of what is in the work's rest. Returns
 * whether there was room.
 */
static __always_inline bool hand_over(const struct telling *it, __u32 rest)
{
	const __u32 size = sizeof(struct call_record);
	const __u32 most =
		(sizeof(struct call_extra) + 2 * MAX_PATH + MAX_PAYLOAD + size - 1) / size;
	const __u8 *behind = it->work->rest;
	struct ring_written *ring = it->ring;
	__u64 begin = ring->places, end;

	if (it->record->flags & RECORD_EXTRA) {
		behind = (const __u8 *)&it->work->extra;
		rest += sizeof(struct call_extra);
	}
	end = begin + 1 + (rest + size - 1) / size;

	if (end > ring->limit) {
		unread_places(it);
		if (end > ring->limit)
			return false;
	}
	for (__u32 i = 0; rest && i < most; i++) {
		struct call_record *place;

		if (i * size >= rest)
			break;
		place = record_at(it->processor, begin + 1 + i);
		if (!place)
			return false;
		__builtin_memcpy(place, behind + i * size, size);
	}
	ring->records++;
	set_written(ring, end);
	if (begin / WAKE_CHECK != end / WAKE_CHECK &&
	    unread_places(it) > settings.ring_blocks * BLOCK_RECORDS / 4)
		wake_reader();
	return true;
}

#endif
