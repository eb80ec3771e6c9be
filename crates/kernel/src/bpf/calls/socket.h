/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * From a descriptor to its socket.
 */
#ifndef NETGLASS_CALLS_SOCKET_H
#define NETGLASS_CALLS_SOCKET_H

/*
 * What a pointer from nowhere in particular points to, and a member of that. Since Linux 6.2 it is
 * read by one instruction, before by a call.
 */
#define READS_AT_ONCE __builtin_expect(bpf_ksym_exists(bpf_rdonly_cast), 1)
#define AT(pointer, type)                                                                          \
	(READS_AT_ONCE ? bpf_core_cast(pointer, type) : (type *)(pointer))
#define READ(pointer, member)                                                                      \
	({                                                                                         \
		typeof((pointer)->member) it;                                                      \
		if (READS_AT_ONCE)                                                                 \
			it = (pointer)->member;                                                    \
		else                                                                               \
			it = BPF_CORE_READ(pointer, member);                                       \
		it;                                                                                \
	})

/* include/uapi/linux/stat.h */
#define S_IFMT 00170000
#define S_IFSOCK 0140000

/*
 * The operations of sockets' files, once one was seen: from then on one look tells whether a file is
 * a socket.
 */
const void *socket_operations;

static __always_inline bool is_socket(struct file *file)
{
	const void *operations = READ(file, f_op), *known = socket_operations;

	if (operations == known)
		return true;
	if (known || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return false;
	socket_operations = operations;
	return true;
}

/* The open file behind a descriptor of a task. */
static __always_inline struct file *open_file(struct task_struct *task, int fd)
{
	struct files_struct *files = task->files;
	struct fdtable *table;
	struct hlist_head *place;

	if (!files || fd < 0)
		return NULL;
	table = files->fdt;
	if ((__u32)fd >= table->max_fds)
		return NULL;
	/* One instruction reads what is known to be a pointer: this structure is nothing else. */
	place = AT(table->fd + fd, struct hlist_head);
	return AT(READ(place, first), struct file);
}

/* The same if it is a socket. */
static __always_inline struct file *socket_file(struct task_struct *task, int fd)
{
	struct file *file = open_file(task, fd);

	return file && is_socket(file) ? file : NULL;
}

/* Whether nobody but the task itself may close or replace its descriptors. */
static __always_inline bool has_descriptors_alone(struct task_struct *task)
{
	struct files_struct *files = task->files;

	return files && files->count.counter == 1;
}

static __always_inline union address map_address(__be32 address)
{
	return (union address){ .words = { 0, bpf_htonl(0xffff) | (__u64)address << 32 } };
}

static __always_inline union address read_address_v6(struct sock *sk, bool remote)
{
	union address address = {};

	for (int i = 0; i < 4; i++) {
		__u64 quarter = remote ?
					READ(sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32[i]) :
					READ(sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i]);

		address.words[i / 2] |= quarter << 32 * (i % 2);
	}
	return address;
}

/*
 * Whether it is the end that listened. A socket that was accepted keeps the backlog of the one that
 * listens; one of UDP serves if the program chose its port.
 */
static __always_inline bool is_passive(struct sock *sk, __u16 protocol)
{
	if (protocol == IPPROTO_UDP)
		return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
	return READ(sk, sk_max_ack_backlog);
}

/* Reads what a socket knows of its connection. */
static __always_inline void read_connection(struct file *file, struct call_connection *connection)
{
	struct socket *socket = AT(READ(file, private_data), struct socket);
	struct sock *sk = READ(socket, sk);
	struct net *net;
	__u16 family;

	family = READ(sk, __sk_common.skc_family);
	net = READ(sk, __sk_common.skc_net.net);
	connection->family = family;
	connection->type = READ(socket, type);
	connection->protocol = READ(sk, sk_protocol);
	/* Of these there are no sums. */
	if (!(settings.flags & ADD_UP)) {
		connection->state = READ(sk, __sk_common.skc_state);
		connection->socket_cookie = READ(sk, __sk_common.skc_cookie.counter);
	}
	connection->network_namespace = READ(net, ns.inum);
	if (family == AF_INET) {
		connection->local_address = map_address(READ(sk, __sk_common.skc_rcv_saddr));
		connection->remote_address = map_address(READ(sk, __sk_common.skc_daddr));
	} else if (family == AF_INET6) {
		connection->local_address = read_address_v6(sk, false);
		connection->remote_address = read_address_v6(sk, true);
	} else {
		return;
	}
	connection->local_port = READ(sk, __sk_common.skc_num);
	/* A connection that is no more has given its port back. */
	if (!connection->local_port)
		connection->local_port = bpf_ntohs(READ(AT(sk, struct inet_sock), inet_sport));
	connection->remote_port = bpf_ntohs(READ(sk, __sk_common.skc_dport));
	if (settings.flags & (ADD_UP | ADD_UP_WHEN_FULL))
		connection->is_passive = is_passive(sk, connection->protocol);
}

/* Copies the path that a Unix socket is bound to; returns its length. */
static __always_inline __u32 read_path(__u8 *path, struct sock *sk)
{
	struct unix_address *address = BPF_CORE_READ((struct unix_sock *)sk, addr);
	const char *from;
	__u32 length;

	if (!address)
		return 0;
	length = BPF_CORE_READ(address, len) - sizeof(__u16);
	from = (const char *)address + bpf_core_field_offset(struct unix_address, name) +
	       sizeof(__u16);
	if (length > MAX_PATH || bpf_probe_read_kernel(path, length, from))
		return 0;
	return length;
}

/* Reads the paths of a Unix socket and its peer. */
static __always_inline void read_paths(const struct telling *it, struct file *file)
{
	struct call_record *record = it->record;
	__u8 *paths = it->work->rest;
	struct socket *socket;
	struct sock *sk, *peer;
	__u32 local;

	if (it->connection->family != AF_UNIX || settings.flags & ADD_UP)
		return;
	socket = AT(READ(file, private_data), struct socket);
	sk = READ(socket, sk);
	local = read_path(paths, sk);
	if (local > MAX_PATH)
		return;
	record->local_path_length = local;
	peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	if (peer)
		record->remote_path_length = read_path(paths + local, peer);
}

#endif
