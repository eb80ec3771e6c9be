/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The headers of a packet, as far as flows are told apart by them: what src/headers/ of the packet
 * crate reads of Ethernet, tags, IP and above.
 */
#ifndef NETGLASS_AGGREGATE_DECODE_H
#define NETGLASS_AGGREGATE_DECODE_H

#define ETHERNET_LENGTH 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define TAG_LENGTH 4
/* Tags before the IP header. */
#define MAX_TAGS 4
/* Extension headers of IPv6. */
#define MAX_EXTENSIONS 8
/* Nanoseconds: as long as Linux waits for the fragments of a datagram. */
#define FRAGMENT_TIMEOUT 30000000000ULL

#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define DESTINATION_OPTIONS 60

/* In a packet, and so in network byte order. */
struct ipv4_header {
	__u8 version_and_length;
	__u8 service;
	__be16 total_length;
	__be16 identification;
	__be16 fragment;
	__u8 time_to_live;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__u8 version;
	__u8 flow[3];
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u32 source[4];
	__u32 destination[4];
};

struct extension_header {
	__u8 next_header;
	__u8 length;
	__be16 offset;
	__be32 identification;
};

/* Up to the flags. */
struct tcp_header {
	__be16 source_port;
	__be16 destination_port;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset;
	__u8 flags;
} __attribute__((packed));

_Static_assert(sizeof(struct ipv4_header) == 20, "RFC 791");
_Static_assert(sizeof(struct ipv6_header) == 40, "RFC 8200");
_Static_assert(sizeof(struct tcp_header) == 14, "RFC 9293");

/* Where headers are read without a call, as far as the packet is in one piece there. */
#define NEAR 256

#define load(skb, offset, to) load_bytes(skb, offset, to, sizeof(*(to)))

static __always_inline bool load_bytes(struct __sk_buff *skb, __u32 offset, void *to,
				       const __u32 length)
{
	void *end = (void *)(long)skb->data_end;
	void *from = (void *)(long)skb->data;

	if (offset < NEAR) {
		from += offset;
		if (from + length <= end) {
			__builtin_memcpy(to, from, length);
			return true;
		}
	}
	return !bpf_skb_load_bytes(skb, offset, to, length);
}

/* Where what is left of a packet begins, and how much of it IP says that there is. */
struct rest {
	__u32 offset;
	__u32 length;
};

static __always_inline void leave_out(struct __sk_buff *skb, __u32 epoch, enum count reason)
{
	count_one(epoch, reason);
	count_many(epoch, COUNT_BYTES_LEFT_OUT, skb->len);
}

static __always_inline void limit(struct rest *rest, __u32 length)
{
	/* One that speaks of more than was there is believed. */
	if (length)
		rest->length = length;
}

static __always_inline void decode_transport(struct __sk_buff *skb, struct packet *packet,
					     struct rest *rest)
{
	struct tcp_header tcp;
	__be16 ports[2];
	__u32 header_length;

	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6) {
		if (rest->length >= sizeof(ports[0]) && load(skb, rest->offset, &ports[0]))
			packet->destination_port = bpf_ntohs(ports[0]);
		return;
	}
	if (packet->protocol == IPPROTO_TCP && rest->length >= sizeof(tcp) &&
	    load(skb, rest->offset, &tcp)) {
		packet->source_port = bpf_ntohs(tcp.source_port);
		packet->destination_port = bpf_ntohs(tcp.destination_port);
		header_length = (tcp.offset >> 4) * 4;
		if (header_length < 20)
			return;
		packet->is_segment = true;
		packet->flags = tcp.flags;
		packet->sequence = bpf_ntohl(tcp.sequence);
		packet->acknowledgment = bpf_ntohl(tcp.acknowledgment);
		if (rest->length > header_length)
			packet->payload = rest->length - header_length;
		return;
	}
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP &&
	    packet->protocol != IPPROTO_SCTP)
		return;
	if (rest->length >= sizeof(ports) && load(skb, rest->offset, &ports)) {
		packet->source_port = bpf_ntohs(ports[0]);
		packet->destination_port = bpf_ntohs(ports[1]);
	} else if (rest->length >= sizeof(ports[0]) && load(skb, rest->offset, &ports[0])) {
		packet->source_port = bpf_ntohs(ports[0]);
	}
}

/* A later fragment has the ports of its datagram. */
__noinline int find_ports(struct packet *packet, __u32 interface, __u32 epoch)
{
	struct datagram datagram = { .interface = interface };
	struct datagram_ports first = { .at = bpf_ktime_get_boot_ns() };
	struct datagram_ports *found;

	if (!packet)
		return 0;
	datagram.identification = packet->identification;
	datagram.protocol = packet->protocol;
	datagram.version = packet->version;
	first.source = packet->source_port;
	first.destination = packet->destination_port;
	for (int word = 0; word < 2; word++) {
		datagram.source[word] = packet->source[word];
		datagram.destination[word] = packet->destination[word];
	}
	if (!packet->is_later_fragment) {
		bpf_map_update_elem(&datagrams, &datagram, &first, BPF_ANY);
		return 0;
	}
	found = bpf_map_lookup_elem(&datagrams, &datagram);
	if (found && first.at - found->at <= FRAGMENT_TIMEOUT) {
		packet->source_port = found->source;
		packet->destination_port = found->destination;
	} else {
		count_one(epoch, COUNT_UNMATCHED_FRAGMENTS);
	}
	return 0;
}

__noinline int decode_above_ip(struct __sk_buff *skb, struct packet *packet, struct rest *rest,
			       __u32 epoch)
{
	if (!packet || !rest)
		return 0;
	if (!packet->is_later_fragment)
		decode_transport(skb, packet, rest);
	if (packet->is_fragment)
		find_ports(packet, skb->ifindex, epoch);
	return count_packet(packet, skb->ifindex, epoch);
}

__noinline int decode_ipv4(struct __sk_buff *skb, __u32 offset, __u32 epoch)
{
	struct packet packet = {};
	struct ipv4_header header;
	struct rest rest = {};
	__u16 total_length, fragment;
	__u32 header_length;

	if (!load(skb, offset, &header)) {
		leave_out(skb, epoch, COUNT_TRUNCATED);
		return 0;
	}
	if (header.version_and_length >> 4 != 4) {
		leave_out(skb, epoch, COUNT_VERSION);
		return 0;
	}
	header_length = (header.version_and_length & 0xf) * 4;
	total_length = bpf_ntohs(header.total_length);
	if (header_length < sizeof(header) || (total_length && total_length < header_length)) {
		leave_out(skb, epoch, COUNT_LENGTH);
		return 0;
	}
	fragment = bpf_ntohs(header.fragment);
	packet.version = 4;
	packet.protocol = header.protocol;
	packet.source[1] = (__u64)header.source << 32;
	packet.destination[1] = (__u64)header.destination << 32;
	packet.identification = bpf_ntohs(header.identification);
	packet.is_later_fragment = fragment & 0x1fff;
	packet.is_fragment = fragment & 0x3fff;
	packet.wire_length = skb->len + (skb->vlan_present ? TAG_LENGTH : 0);
	rest.length = skb->len > offset ? skb->len - offset : 0;
	limit(&rest, total_length);
	rest.offset = offset + header_length;
	rest.length = rest.length > header_length ? rest.length - header_length : 0;
	decode_above_ip(skb, &packet, &rest, epoch);
	return 0;
}

static __always_inline bool is_extension(__u8 next_header)
{
	return next_header == HOP_BY_HOP || next_header == ROUTING || next_header == FRAGMENT ||
	       next_header == AUTHENTICATION || next_header == DESTINATION_OPTIONS;
}

static __always_inline void skip(struct rest *rest, __u32 length)
{
	rest->offset += length;
	rest->length = rest->length > length ? rest->length - length : 0;
}

__noinline int decode_ipv6(struct __sk_buff *skb, __u32 offset, __u32 epoch)
{
	struct extension_header extension;
	struct packet packet = {};
	struct ipv6_header header;
	struct rest rest = {};
	__u32 length;
	__u16 place;

	if (!load(skb, offset, &header.version)) {
		leave_out(skb, epoch, COUNT_TRUNCATED);
		return 0;
	}
	if (header.version >> 4 != 6) {
		leave_out(skb, epoch, COUNT_VERSION);
		return 0;
	}
	if (!load(skb, offset, &header)) {
		leave_out(skb, epoch, COUNT_TRUNCATED);
		return 0;
	}
	packet.version = 6;
	__builtin_memcpy(packet.source, header.source, ADDRESS_LENGTH);
	__builtin_memcpy(packet.destination, header.destination, ADDRESS_LENGTH);
	packet.protocol = header.next_header;
	packet.wire_length = skb->len + (skb->vlan_present ? TAG_LENGTH : 0);
	rest.offset = offset + sizeof(header);
	rest.length = skb->len - rest.offset;
	limit(&rest, bpf_ntohs(header.payload_length));
	for (int count = 0; count < MAX_EXTENSIONS; count++) {
		if (!is_extension(packet.protocol) || rest.length < sizeof(extension) ||
		    bpf_skb_load_bytes(skb, rest.offset, &extension, sizeof(extension)))
			break;
		if (packet.protocol == FRAGMENT) {
			place = bpf_ntohs(extension.offset);
			packet.identification = bpf_ntohl(extension.identification);
			/* One that is all of its datagram is none (RFC 6946). */
			packet.is_later_fragment = place & 0xfff8;
			packet.is_fragment = place & 0xfff9;
			length = sizeof(extension);
		} else if (packet.protocol == AUTHENTICATION) {
			length = ((__u32)extension.length + 2) * 4;
		} else {
			length = ((__u32)extension.length + 1) * 8;
		}
		skip(&rest, length);
		packet.protocol = extension.next_header;
		if (packet.is_later_fragment)
			break;
	}
	decode_above_ip(skb, &packet, &rest, epoch);
	return 0;
}

static __always_inline bool is_tag(__u16 type)
{
	/* IEEE 802.1Q and 802.1ad, and what was used for the latter before it had a number. */
	return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200;
}

static __always_inline void decode_ether_type(struct __sk_buff *skb, __u32 epoch)
{
	__u32 offset = ETHERNET_LENGTH;
	__be16 type;

	if (!load(skb, ETHERNET_LENGTH - sizeof(type), &type)) {
		leave_out(skb, epoch, COUNT_TRUNCATED);
		return;
	}
	for (int tags = 0; tags < MAX_TAGS && is_tag(bpf_ntohs(type)); tags++) {
		if (!load(skb, offset + 2, &type)) {
			leave_out(skb, epoch, COUNT_TRUNCATED);
			return;
		}
		offset += TAG_LENGTH;
	}
	if (type == bpf_htons(ETHERTYPE_IPV4))
		decode_ipv4(skb, offset, epoch);
	else if (type == bpf_htons(ETHERTYPE_IPV6))
		decode_ipv6(skb, offset, epoch);
	else
		leave_out(skb, epoch, is_tag(bpf_ntohs(type)) ? COUNT_TOO_DEEP : COUNT_NOT_IP);
}

static __always_inline void decode_ip(struct __sk_buff *skb, __u32 epoch)
{
	__u8 first;

	if (!load(skb, 0, &first))
		leave_out(skb, epoch, COUNT_TRUNCATED);
	else if (first >> 4 == 4)
		decode_ipv4(skb, 0, epoch);
	else if (first >> 4 == 6)
		decode_ipv6(skb, 0, epoch);
	else
		leave_out(skb, epoch, COUNT_VERSION);
}

static __always_inline void decode(struct __sk_buff *skb, bool is_ethernet, __u32 epoch)
{
	if (is_ethernet)
		decode_ether_type(skb, epoch);
	else
		decode_ip(skb, epoch);
}

#endif
