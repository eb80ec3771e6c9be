/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the streaming programs remember. Sizes are set when the programs are loaded.
 */
#ifndef NETGLASS_STREAM_MAPS_H
#define NETGLASS_STREAM_MAPS_H

/* Set before the programs are loaded. */
const volatile struct settings settings = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/*
 * Flows are added to one table while the other one is read: a program that found its flow just
 * before the reader takes it out would add to what nobody reads any more.
 */
struct flow_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, struct flow_counters);
};

struct flow_table flows_even SEC(".maps");
struct flow_table flows_odd SEC(".maps");

/*
 * Before they get there they are added up on each processor, by the lowest bit of the epoch: one
 * flow that all processors add to at once is memory that they take from each other again and again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct recent_flows);
} recent_flows SEC(".maps");

/* By the lowest bit of the epoch and enum count: [0, COUNTS) and [COUNTS, 2 * COUNTS). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

enum role {
	/* Nothing is to be counted: not connected yet, or any more. */
	ROLE_NONE,
	/* connect(2) was called. */
	ROLE_ACTIVE,
	/* It is bound and may listen; or it was accepted, and nobody worked with it so far. */
	ROLE_LISTENER,
	ROLE_PASSIVE,
};

enum socket_flags {
	/* It was there before us. */
	SOCKET_EXISTED = 1 << 0,
	/* Of those: nobody was seen to hold it. */
	SOCKET_UNHELD = 1 << 1,
};

/* In counted_in: the connection is older than our watch. */
#define EPOCH_BEFORE 0xffffffff

/* What is known of a socket that listens, exchanges datagrams, or is older than our watch. */
struct tracked_socket {
	/* What of its traffic was counted. */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 retransmits;
	/* As in struct process_record. */
	__u32 process;
	/* The epoch in which it was last counted as a connection; 0 before the first. */
	__u32 counted_in;
	__u8 role;
	__u8 flags;
	/* To whom connect(2) was to connect it. */
	__u16 peer_port;
	__u8 peer_address[ADDRESS_LENGTH];
	/* When its process started, for the choice among several holders; 0 before the first. */
	__u64 holder_since;
};

/* Goes when the socket goes. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tracked_socket);
} sockets SEC(".maps");

/*
 * By the cookie of the socket, what lists tell where an iterator is missing. There are none as a
 * rule, so their room is not kept ready.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct listed_socket);
} listed_sockets SEC(".maps");

/* What of a connection's traffic was counted, and in which epoch that was. */
struct counted {
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 retransmits;
	__u32 epoch;
};

/*
 * What is known of a TCP connection that began while we watch. Of one that ends before it is looked
 * at the first cache line is all that is used.
 */
struct connection {
	/* As in connection.h; 0 where there is no connection. */
	__u64 state;
	/* Of the socket. */
	__u64 address;
	/* As in struct process_record. */
	__u32 process;
	__u8 role;
	__u8 reserved;
	/* To whom connect(2) was to connect it. */
	__u16 peer_port;
	__u8 peer_address[ADDRESS_LENGTH];
	__u64 unused[3];
	struct counted counted[2];
};

/*
 * Each address of a socket has its place. Who finds somebody else there is tracked as other sockets
 * are.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

/* A process that was told of, by its id in the initial pid namespace. */
struct known_process {
	__u64 start_boottime;
	/* Another one after each execve(2). */
	__u64 exec_id;
	__u32 process;
	__u32 reserved;
};

/* One that is forgotten is told of once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct known_process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} process_records SEC(".maps");

/* Datagrams that a socket exchanges with one peer. */
struct conversation_key {
	__u64 socket_cookie;
	__u8 peer_address[ADDRESS_LENGTH];
	__u16 peer_port;
	__u16 reserved[3];
};

struct conversation {
	__u64 last_ns;
	__u32 counted_in;
	__u32 role;
};

/* The oldest ones make way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct conversation_key);
	__type(value, struct conversation);
} conversations SEC(".maps");

/* The address of the datagram that a thread is sending or has received, by thread. */
struct datagram_address {
	__u64 socket_cookie;
	__u8 peer_address[ADDRESS_LENGTH];
	__u8 local_address[ADDRESS_LENGTH];
	__u16 peer_port;
	__u16 reserved[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct datagram_address);
} datagram_addresses SEC(".maps");

/* Where sockets listen, and whose they are: to tell the ends of connections. */
struct listening_key {
	__u8 local_address[ADDRESS_LENGTH];
	__u32 network_namespace;
	__u16 port;
	__u16 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct listening_key);
	__type(value, __u32);
} listening SEC(".maps");

static __always_inline __u32 current_epoch(void)
{
	__u32 first = 0;
	struct control *set = bpf_map_lookup_elem(&control, &first);

	return set ? *(volatile __u32 *)&set->epoch : 0;
}

static __always_inline __u32 current_phase(void)
{
	__u32 first = 0;
	struct control *set = bpf_map_lookup_elem(&control, &first);

	return set ? *(volatile __u32 *)&set->phase : 0;
}

static __always_inline bool has_list(void)
{
	__u32 first = 0;
	struct control *set = bpf_map_lookup_elem(&control, &first);

	return set && set->has_list;
}

/* What is known of a socket that is not in the table of connections; most have nothing. */
static __always_inline struct tracked_socket *tracked_of(struct sock *sk)
{
	return sk->sk_bpf_storage ? bpf_sk_storage_get(&sockets, sk, 0, 0) : 0;
}

static __always_inline void count_many(__u32 epoch, enum count what, __u64 number)
{
	__u32 index = (epoch & 1) * COUNTS + what;
	__u64 *count = bpf_map_lookup_elem(&counts, &index);

	/* A program that interrupts another one on this processor may add at the same time. */
	if (count)
		__sync_fetch_and_add(count, number);
}

static __always_inline void count_one(__u32 epoch, enum count what)
{
	count_many(epoch, what, 1);
}

#endif
