/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The ends of a packet, as far as packets are selected by them.
 */
#ifndef NETGLASS_DATAPATH_HEADERS_H
#define NETGLASS_DATAPATH_HEADERS_H

#define ETHERNET_LENGTH 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define TAG_LENGTH 4
#define MAX_TAGS 2
#define MAX_EXTENSIONS 6

#define IPPROTO_SCTP 132

struct ends {
	__u64 source[2];
	__u64 destination[2];
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	bool has_ports;
	bool is_ip;
};

/* Where a packet's bytes are: behind a context, or in memory of which so much is its own. */
struct bytes {
	struct __sk_buff *skb;
	const unsigned char *memory;
	__u32 length;
};

static __always_inline bool read(const struct bytes *from, __u32 offset, void *to, const __u32 length)
{
	if (from->skb)
		return !bpf_skb_load_bytes(from->skb, offset, to, length);
	if (offset > from->length || length > from->length - offset)
		return false;
	return !bpf_probe_read_kernel(to, length, from->memory + offset);
}

static __always_inline void read_ports(const struct bytes *from, __u32 offset, struct ends *ends)
{
	__be16 ports[2];

	if (ends->protocol != IPPROTO_TCP && ends->protocol != IPPROTO_UDP &&
	    ends->protocol != IPPROTO_SCTP)
		return;
	if (!read(from, offset, &ports, sizeof(ports)))
		return;
	ends->source_port = bpf_ntohs(ports[0]);
	ends->destination_port = bpf_ntohs(ports[1]);
	ends->has_ports = true;
}

static __always_inline void read_ipv4(const struct bytes *from, __u32 offset, struct ends *ends)
{
	__u8 header[20];
	__u64 mapped = bpf_be64_to_cpu(0xffff00000000ULL);

	if (!read(from, offset, header, sizeof(header)))
		return;
	ends->is_ip = true;
	ends->protocol = header[9];
	mapped = bpf_cpu_to_be64(0xffff00000000ULL);
	ends->source[0] = 0;
	ends->destination[0] = 0;
	ends->source[1] = mapped | (__u64) * (__u32 *)(header + 12) << 32;
	ends->destination[1] = mapped | (__u64) * (__u32 *)(header + 16) << 32;
	/* Later fragments have none. */
	if (!((header[6] & 0x1f) | header[7]))
		read_ports(from, offset + (header[0] & 0xf) * 4, ends);
}

static __always_inline void read_ipv6(const struct bytes *from, __u32 offset, struct ends *ends)
{
	struct {
		__u8 start[6];
		__u8 next_header;
		__u8 hop_limit;
		__u64 source[2];
		__u64 destination[2];
	} header;
	__u8 extension[4];

	if (!read(from, offset, &header, sizeof(header)))
		return;
	ends->is_ip = true;
	ends->protocol = header.next_header;
	ends->source[0] = header.source[0];
	ends->source[1] = header.source[1];
	ends->destination[0] = header.destination[0];
	ends->destination[1] = header.destination[1];
	offset += sizeof(header);
	for (int step = 0; step < MAX_EXTENSIONS; step++) {
		__u8 kind = ends->protocol;

		/* Hop by hop, routing, fragment, authentication, destination options. */
		if (kind != 0 && kind != 43 && kind != 44 && kind != 51 && kind != 60)
			break;
		if (!read(from, offset, extension, sizeof(extension)))
			return;
		ends->protocol = extension[0];
		if (kind == 44) {
			if (extension[2] | (extension[3] & 0xf8))
				return;
			offset += 8;
		} else if (kind == 51) {
			offset += ((__u32)extension[1] + 2) * 4;
		} else {
			offset += ((__u32)extension[1] + 1) * 8;
		}
	}
	read_ports(from, offset, ends);
}

/* Of a packet that begins with IP there. */
static __always_inline void read_ip(const struct bytes *from, __u32 offset, struct ends *ends)
{
	__u8 first;

	if (!read(from, offset, &first, sizeof(first)))
		return;
	if (first >> 4 == 4)
		read_ipv4(from, offset, ends);
	else if (first >> 4 == 6)
		read_ipv6(from, offset, ends);
}

/* Of a frame of Ethernet. */
static __always_inline void read_ethernet(const struct bytes *from, struct ends *ends)
{
	__u32 offset = ETHERNET_LENGTH;
	__be16 type;

	if (!read(from, ETHERNET_LENGTH - sizeof(type), &type, sizeof(type)))
		return;
	for (int tags = 0; tags < MAX_TAGS; tags++) {
		if (type != bpf_htons(0x8100) && type != bpf_htons(0x88a8))
			break;
		if (!read(from, offset + 2, &type, sizeof(type)))
			return;
		offset += TAG_LENGTH;
	}
	if (type == bpf_htons(ETHERTYPE_IPV4) || type == bpf_htons(ETHERTYPE_IPV6))
		read_ip(from, offset, ends);
}

#endif
