/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the datapath tells, and what it is told. The layouts of notifications are those of Cilium 1.19
 * and later; src/datapath/ and the cilium crate read them.
 */
#ifndef NETGLASS_DATAPATH_RECORDS_H
#define NETGLASS_DATAPATH_RECORDS_H

enum notification_type {
	NOTIFY_DROP = 1,
	NOTIFY_TRACE = 4,
};

enum observation_point {
	FROM_NETWORK = 10,
	TO_NETWORK = 11,
};

/* The versions of the layouts. */
#define DROP_VERSION 3
#define TRACE_VERSION 2
/* What says that struct kernel_facts is behind the header. */
#define EXTENSION 0x4e
/* The reason of Cilium's that stands for all of the kernel's: none of its own. */
#define REASON_OF_KERNEL 255
/* Nothing is known of the state of its connection. */
#define STATE_UNKNOWN 5

/* It is of IPv6; it begins with IP. */
#define FLAG_IPV6 0x01
#define FLAG_LAYER3 0x02

struct drop_notify {
	__u8 type;
	__u8 reason;
	__u16 source;
	__u32 hash;
	__u32 original_length;
	__u16 captured_length;
	__u8 version;
	__u8 extension;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 destination;
	__u16 line;
	__u8 file;
	__s8 error;
	__u32 interface;
	__u8 flags;
	__u8 reserved[3];
	__u64 trace_id;
};

struct trace_notify {
	__u8 type;
	__u8 observation_point;
	__u16 source;
	__u32 hash;
	__u32 original_length;
	__u16 captured_length;
	__u8 version;
	__u8 extension;
	__u32 source_identity;
	__u32 destination_identity;
	__u16 destination;
	__u8 state;
	__u8 flags;
	__u32 interface;
	__u8 original_address[16];
	__u64 trace_id;
};

/* Which end of the packet a socket is. */
enum socket_end {
	END_UNKNOWN,
	END_SOURCE,
	END_DESTINATION,
};

/* What else the kernel knows. */
struct kernel_facts {
	/* Of all that is between the header and the packet: readers may put more behind it. */
	__u16 length;
	__u8 socket_end;
	__u8 reserved;
	/* The inode of it, 0 where it is not known. */
	__u32 network_namespace;
	/* Nanoseconds since boot. */
	__u64 at;
	/* 0 where there is none. */
	__u64 socket_cookie;
	/* The same for one packet wherever it comes by, as long as it lives. */
	__u64 packet;
	/* Where in the kernel it was dropped. */
	__u64 location;
	/* enum skb_drop_reason, with the subsystem in its upper half. */
	__u32 reason;
	__u32 reserved_too;
};

#define MAX_CAPTURE 9216
#define MAX_PREFIXES 16
#define MAX_NAMESPACES 16

/* What is selected by: nothing of what is not given. */
enum datapath_flag {
	SELECT_ADDRESSES = 1 << 0,
	SELECT_PORTS = 1 << 1,
	SELECT_PROTOCOLS = 1 << 2,
	SELECT_NAMESPACES = 1 << 3,
	SELECT_INTERFACES = 1 << 4,
	/* The kernel tells which socket would have received what it drops (Linux 6.11). */
	HAS_RECEIVER = 1 << 5,
};

/* An address, and which bits of it count; those of IPv4 are mapped into IPv6. */
struct prefix {
	__u64 address[2];
	__u64 mask[2];
};

struct datapath_settings {
	__u32 flags;
	__u32 capture_length;
	/* The highest reason that stands for no drop. */
	__u32 benign_reason;
	__u32 prefix_count;
	/* What hides the addresses of the kernel. */
	__u64 packet_key;
	__u32 namespace_count;
	__u32 reserved;
	__u32 namespaces[MAX_NAMESPACES];
	/* A bit for each protocol above IP. */
	__u8 protocols[32];
	struct prefix prefixes[MAX_PREFIXES];
};

struct interface_key {
	__u32 network_namespace;
	__u32 index;
};

/* What became of packets. */
enum count {
	/* They came by. */
	COUNT_SEEN,
	/* The kernel dropped them. */
	COUNT_DROPPED,
	/* Those of both that are not selected. */
	COUNT_FILTERED,
	/* Those of both for which there was no room. */
	COUNT_LOST,
	/* What the kernel dropped that is no packet of a network, like messages between processes. */
	COUNT_NO_PACKET,
	COUNTS,
};

_Static_assert(sizeof(struct drop_notify) == 48, "DropNotify of version 3");
_Static_assert(sizeof(struct trace_notify) == 56, "TraceNotify of version 2");
_Static_assert(sizeof(struct kernel_facts) == 48, "shared with Rust");
_Static_assert(sizeof(struct datapath_settings) == 640, "shared with Rust");

#endif
