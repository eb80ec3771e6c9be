/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the aggregating programs and src/aggregate/ share. The tests of src/aggregate/record.rs check
 * the same sizes.
 */
#ifndef NETGLASS_AGGREGATE_RECORDS_H
#define NETGLASS_AGGREGATE_RECORDS_H

/* Those of IPv4 are in the last four bytes. */
#define ADDRESS_LENGTH 16

/* Both directions are one flow: whose address and port come first is the same for both. */
struct flow_key {
	__u64 first_address[2];
	__u64 second_address[2];
	/* The kernel's own number of it. */
	__u32 interface;
	/*
	 * In host byte order. A message of ICMP has its type times 256 and its code as the second; its
	 * sender is always the first, as the answer to it has another one.
	 */
	__u16 first_port;
	__u16 second_port;
	__u8 protocol;
	/* Of IP. */
	__u8 version;
	__u16 reserved[3];
};

/* A segment of TCP on which the state of its connection depends. */
struct step {
	/* Nanoseconds since boot. */
	__u64 at;
	__u32 sequence;
	__u32 acknowledgment;
	/* What each end had sent before it, in the lower bits. */
	__u32 packets[2];
	__u32 bytes[2];
	/* Bytes of data. */
	__u32 payload;
	__u32 wire_length;
	__u8 flags;
	/* 0 for the first endpoint of the key, 1 for the second. */
	__u8 sender;
	__u16 reserved[3];
};

/* How many are kept; those that come later take the place of the last one. */
#define STEPS 8

enum mark {
	/* Flags of TCP that the first endpoint sent, but for those in steps; then the second's. */
	MARK_FLAGS = 0,
	/* Either end sent data, but for that in steps. */
	MARK_DATA = 1 << 16,
	/* The next segment of an endpoint is a step, as it may acknowledge one: two bits. */
	MARK_AWAITED = 1 << 17,
	/* The second endpoint sent the first packet. */
	MARK_SECOND_BEGAN = 1 << 19,
};

/* What was counted of a flow in one epoch. */
struct flow_sums {
	/* By endpoint, on the wire. */
	__u64 packets[2];
	__u64 bytes[2];
	/* Nanoseconds since boot. */
	__u64 began;
	__u64 last;
	/* How many steps there were, kept or not. */
	__u32 steps_taken;
	__u32 marks;
	struct step steps[STEPS];
};

/* What became of packets. */
enum count {
	COUNT_SEEN,
	/* They are not of IP. */
	COUNT_NOT_IP,
	/* They cannot be understood: see Malformed of the packet crate. */
	COUNT_TRUNCATED,
	COUNT_LENGTH,
	COUNT_VERSION,
	COUNT_TOO_DEEP,
	/* In no flow: the table was full. */
	COUNT_FLOWS_FULL,
	/* In no flow: the table could not be changed at the moment. */
	COUNT_FLOWS_BUSY,
	/* Later fragments, counted without ports: the first of their datagram was not seen. */
	COUNT_UNMATCHED_FRAGMENTS,
	/* Bytes of packets in no flow. */
	COUNT_BYTES_LEFT_OUT,
	COUNTS,
};

/* Set by the reader. */
struct control {
	/* Its lowest bit says which table is in use. */
	__u32 epoch;
	/* With how many flows in it the reader is woken. */
	__u32 wake_at;
};

_Static_assert(sizeof(struct flow_key) == 48, "shared with Rust");
_Static_assert(sizeof(struct step) == 48, "shared with Rust");
_Static_assert(sizeof(struct flow_sums) == 440, "shared with Rust");
_Static_assert(sizeof(struct control) == 8, "shared with Rust");

#endif
