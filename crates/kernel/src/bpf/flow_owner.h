/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the program for the owners of flows and src/flow_owners/watch.rs share.
 */
#ifndef NETGLASS_FLOW_OWNER_H
#define NETGLASS_FLOW_OWNER_H

/* A socket and who holds it. Addresses are 16 bytes, those of IPv4 mapped into IPv6. */
struct socket_sighting {
	__u8 local_address[16];
	__u8 peer_address[16];
	/* Nanoseconds since boot: when it was opened, 0 where that is not known, and now. */
	__u64 opened;
	__u64 at;
	__u32 network_namespace;
	/* As in struct process_record. */
	__u32 process;
	/* In host byte order. */
	__u16 local_port;
	__u16 peer_port;
	__u8 protocol;
	/* Otherwise it takes what comes from any. */
	__u8 has_peer;
	/* It takes nothing of IPv4, on whatever address. */
	__u8 only_v6;
	__u8 reserved;
};

_Static_assert(sizeof(struct socket_sighting) == 64, "shared with Rust");

#endif
