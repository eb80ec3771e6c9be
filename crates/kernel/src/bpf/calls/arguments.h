/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What stands in the memory of the traced program. It may be anything, and any pointer may lead
 * nowhere: what cannot be read is not told.
 */
#ifndef NETGLASS_CALLS_ARGUMENTS_H
#define NETGLASS_CALLS_ARGUMENTS_H

/* How many messages of one call are added up; of more the sum is not known. */
#define MAX_MESSAGES 64

/* include/linux/socket.h, struct user_msghdr: the same on all machines of 64 bits. */
struct user_message {
	__u64 name;
	__u32 name_length;
	__u32 padding;
	__u64 vectors;
	__u64 vector_count;
	__u64 control;
	__u64 control_length;
	__u32 flags;
	__u32 padding_behind;
};

/* struct mmsghdr */
struct user_message_of_many {
	struct user_message message;
	__u32 length;
	__u32 padding;
};

/* struct sockaddr_in and struct sockaddr_in6 */
struct user_address {
	__u16 family;
	__be16 port;
	__be32 address_v4;
	__u8 address_v6[ADDRESS_LENGTH];
};

/* Of a call that is pending, the memory at hand is another process's. */
static __always_inline bool is_own_memory(const struct call_record *record)
{
	return record->kind != RECORD_PENDING;
}

static __always_inline void read_address(const struct telling *it, __u64 pointer)
{
	struct call_extra *extra = &it->work->extra;
	const __u32 length_v4 = 16;
	struct user_address address = {};

	if (!pointer || !is_own_memory(it->record))
		return;
	/* An address of IPv4 may be the last thing on its page. */
	if (bpf_probe_read_user(&address, sizeof(address), (void *)pointer) &&
	    bpf_probe_read_user(&address, length_v4, (void *)pointer))
		return;
	if (address.family == AF_INET)
		extra->address = map_address(address.address_v4);
	else if (address.family == AF_INET6)
		__builtin_memcpy(&extra->address, address.address_v6, ADDRESS_LENGTH);
	else
		return;
	extra->address_port = bpf_ntohs(address.port);
	it->record->flags |= RECORD_ADDRESS;
}

static __always_inline void read_vectors(const struct telling *it, __u64 pointer, __u64 number)
{
	struct call_record *record = it->record;
	struct user_vector *vectors = it->work->vectors;
	__u64 sum = 0;

	record->details[0] = number;
	if (number > MAX_VECTORS || !is_own_memory(record) ||
	    bpf_probe_read_user(vectors, number * sizeof(vectors[0]), (void *)pointer))
		return;
	for (__u32 i = 0; i < MAX_VECTORS; i++) {
		if (i >= number)
			break;
		sum += vectors[i].length;
	}
	record->length = sum;
	record->flags |= RECORD_LENGTH;
}

static __always_inline void read_message(const struct telling *it, __u64 pointer, bool address)
{
	struct user_message message;

	if (!is_own_memory(it->record) ||
	    bpf_probe_read_user(&message, sizeof(message), (void *)pointer))
		return;
	read_vectors(it, message.vectors, message.vector_count);
	if (address)
		read_address(it, message.name);
}

/* Messages that were sent or received by one call. */
static __always_inline void read_messages(const struct telling *it, __u64 pointer, __u64 asked,
					  bool address)
{
	struct call_record *record = it->record;
	struct user_message_of_many *messages = (void *)pointer;
	__u64 sum = 0;

	record->details[0] = asked;
	if (address) {
		struct user_message message;

		if (!bpf_probe_read_user(&message, sizeof(message), messages))
			read_address(it, message.name);
	}
	if (record->result < 0 || record->result > MAX_MESSAGES)
		return;
	for (__u32 i = 0; i < MAX_MESSAGES; i++) {
		__u32 length;

		if (i >= record->result)
			break;
		if (bpf_probe_read_user(&length, sizeof(length), &messages[i].length))
			return;
		sum += length;
	}
	it->work->extra.transferred = sum;
	record->flags |= RECORD_TRANSFERRED;
}

static __always_inline void asks_for(struct call_record *record, __u64 length)
{
	record->length = length;
	record->flags |= RECORD_LENGTH;
}

/* Reads what a call was given, and what it wrote. */
static __always_inline void read_arguments(const struct telling *it, struct pt_regs *regs)
{
	struct call_record *record = it->record;
	bool returned = record->kind == RECORD_RETURN;
	/* The peer of a connected socket is known by its connection. */
	bool unconnected = !it->connection->remote_port;

	switch (record->call) {
	case CALL_SOCKET:
	case CALL_SOCKETPAIR:
		record->details[0] = SECOND_ARGUMENT(regs);
		record->details[1] = THIRD_ARGUMENT(regs);
		break;
	case CALL_BIND:
	case CALL_CONNECT:
		read_address(it, SECOND_ARGUMENT(regs));
		break;
	case CALL_LISTEN:
	case CALL_SHUTDOWN:
		record->details[0] = SECOND_ARGUMENT(regs);
		break;
	case CALL_GETSOCKOPT:
		if (returned && !record->result) {
			__u32 error = 0;

			bpf_probe_read_user(&error, sizeof(error), (void *)FOURTH_ARGUMENT(regs));
			record->details[0] = error;
		}
		break;
	case CALL_READ:
	case CALL_PREAD64:
	case CALL_WRITE:
	case CALL_PWRITE64:
		asks_for(record, THIRD_ARGUMENT(regs));
		break;
	case CALL_SENDTO:
	case CALL_RECVFROM:
		asks_for(record, THIRD_ARGUMENT(regs));
		record->details[0] = FOURTH_ARGUMENT(regs);
		if (unconnected && (record->call == CALL_SENDTO || (returned && record->result >= 0)))
			read_address(it, FIFTH_ARGUMENT(regs));
		break;
	case CALL_READV:
	case CALL_PREADV:
	case CALL_PREADV2:
	case CALL_WRITEV:
	case CALL_PWRITEV:
	case CALL_PWRITEV2:
		read_vectors(it, SECOND_ARGUMENT(regs), THIRD_ARGUMENT(regs));
		break;
	case CALL_SENDMSG:
		read_message(it, SECOND_ARGUMENT(regs), unconnected);
		break;
	case CALL_RECVMSG:
		read_message(it, SECOND_ARGUMENT(regs),
			     unconnected && returned && record->result >= 0);
		break;
	case CALL_SENDMMSG:
	case CALL_RECVMMSG:
		if (returned)
			read_messages(it, SECOND_ARGUMENT(regs), THIRD_ARGUMENT(regs),
				      unconnected);
		else
			record->details[0] = THIRD_ARGUMENT(regs);
		break;
	case CALL_SENDFILE:
		asks_for(record, FOURTH_ARGUMENT(regs));
		record->details[0] = SECOND_ARGUMENT(regs);
		break;
	case CALL_SPLICE:
		asks_for(record, FIFTH_ARGUMENT(regs));
		record->details[0] = FIRST_ARGUMENT(regs);
		record->details[1] = THIRD_ARGUMENT(regs);
		break;
	case CALL_TEE:
		asks_for(record, THIRD_ARGUMENT(regs));
		record->details[0] = FIRST_ARGUMENT(regs);
		record->details[1] = SECOND_ARGUMENT(regs);
		break;
	}
	if ((record->call == CALL_SPLICE || record->call == CALL_TEE) &&
	    record->fd == (__s32)record->details[0])
		record->flags |= RECORD_TAKEN_FROM;
}

/* Where the buffers of a call are: one, or several. */
static __always_inline __u32 find_buffers(const struct telling *it, struct pt_regs *regs)
{
	struct user_vector *buffers = it->work->vectors;
	__u64 second = SECOND_ARGUMENT(regs), third = THIRD_ARGUMENT(regs);
	struct user_message message;
	__u64 vectors, number;

	/* Registers are read by offsets that the verifier has to know. */
	barrier_var(second);
	barrier_var(third);
	switch (it->record->call) {
	case CALL_READ:
	case CALL_PREAD64:
	case CALL_WRITE:
	case CALL_PWRITE64:
	case CALL_SENDTO:
	case CALL_RECVFROM:
		buffers[0].base = second;
		buffers[0].length = third;
		return 1;
	case CALL_READV:
	case CALL_PREADV:
	case CALL_PREADV2:
	case CALL_WRITEV:
	case CALL_PWRITEV:
	case CALL_PWRITEV2:
		vectors = second;
		number = third;
		break;
	case CALL_SENDMSG:
	case CALL_RECVMSG:
	case CALL_SENDMMSG:
	case CALL_RECVMMSG:
		/* Of several messages it is the first one. */
		if (bpf_probe_read_user(&message, sizeof(message), (void *)second))
			return 0;
		vectors = message.vectors;
		number = message.vector_count;
		break;
	default:
		return 0;
	}
	if (number > MAX_VECTORS)
		number = MAX_VECTORS;
	if (bpf_probe_read_user(buffers, number * sizeof(buffers[0]), (void *)vectors))
		return 0;
	return number;
}

/* Copies the beginning of what a call that has returned sent or received; returns its length. */
static __always_inline __u32 read_payload(const struct telling *it, struct pt_regs *regs,
					  __u32 paths)
{
	const struct call_record *record = it->record;
	struct user_vector *buffers = it->work->vectors;
	__u8 *payload = it->work->rest + paths;
	__u64 left = settings.payload;
	__u32 number, length = 0;

	if (record->kind != RECORD_RETURN || record->result <= 0)
		return 0;
	if (!(record->flags & RECORD_TRANSFERRED) && left > (__u64)record->result)
		left = record->result;
	number = find_buffers(it, regs);
	for (__u32 i = 0; i < MAX_VECTORS; i++) {
		__u64 piece;

		if (i >= number || !left || length >= MAX_PAYLOAD)
			break;
		piece = buffers[i].length;
		if (piece > left)
			piece = left;
		if (piece > MAX_PAYLOAD)
			piece = MAX_PAYLOAD;
		if (bpf_probe_read_user(payload + length, piece, (void *)buffers[i].base))
			break;
		length += piece;
		left -= piece;
	}
	return length > settings.payload ? settings.payload : length;
}

#endif
