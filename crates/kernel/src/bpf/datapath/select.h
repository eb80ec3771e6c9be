/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which packets are told of: all that is given has to match, of each any value.
 */
#ifndef NETGLASS_DATAPATH_SELECT_H
#define NETGLASS_DATAPATH_SELECT_H

#define SELECT_ENDS (SELECT_ADDRESSES | SELECT_PORTS | SELECT_PROTOCOLS)

static __always_inline bool has_prefix(const __u64 *address)
{
	for (__u32 i = 0; i < MAX_PREFIXES; i++) {
		const volatile struct prefix *prefix = &settings.prefixes[i];

		if (i >= settings.prefix_count)
			return false;
		if ((address[0] & prefix->mask[0]) == prefix->address[0] &&
		    (address[1] & prefix->mask[1]) == prefix->address[1])
			return true;
	}
	return false;
}

static __always_inline bool is_selected_port(__u32 port)
{
	return bpf_map_lookup_elem(&ports, &port);
}

static __always_inline bool are_ends_selected(const struct ends *ends)
{
	const __u32 flags = settings.flags;

	if (!ends->is_ip)
		return false;
	if (flags & SELECT_PROTOCOLS &&
	    !(settings.protocols[ends->protocol / 8] >> (ends->protocol % 8) & 1))
		return false;
	if (flags & SELECT_ADDRESSES && !has_prefix(ends->source) && !has_prefix(ends->destination))
		return false;
	return !(flags & SELECT_PORTS) ||
	       (ends->has_ports && (is_selected_port(ends->source_port) ||
				    is_selected_port(ends->destination_port)));
}

static __always_inline bool is_namespace_selected(__u32 network_namespace)
{
	if (!(settings.flags & SELECT_NAMESPACES))
		return true;
	for (__u32 i = 0; i < MAX_NAMESPACES; i++) {
		if (i >= settings.namespace_count)
			return false;
		if (settings.namespaces[i] == network_namespace)
			return true;
	}
	return false;
}

static __always_inline bool is_interface_selected(__u32 network_namespace, __u32 index)
{
	struct interface_key key = { .network_namespace = network_namespace, .index = index };

	return !(settings.flags & SELECT_INTERFACES) || bpf_map_lookup_elem(&interfaces, &key);
}

#endif
