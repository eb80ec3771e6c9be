/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is done on sockets by way of io_uring, which no system call names: an operation is remembered
 * when it is submitted, and told of when it is complete.
 */
#ifndef NETGLASS_CALLS_URING_H
#define NETGLASS_CALLS_URING_H

/* include/linux/io_uring_types.h: the descriptor is a number of a table of the ring's own. */
#define REQ_F_FIXED_FILE 1
/* include/uapi/linux/io_uring.h: there will be further results. */
#define IORING_CQE_F_MORE 2

#define OPERATIONS 64

/* include/uapi/linux/io_uring.h, by enum io_uring_op. */
const volatile __u8 operation_calls[OPERATIONS] = {
	[1] = CALL_URING_READV,
	[2] = CALL_URING_WRITEV,
	[4] = CALL_URING_READ_FIXED,
	[5] = CALL_URING_WRITE_FIXED,
	[9] = CALL_URING_SENDMSG,
	[10] = CALL_URING_RECVMSG,
	[13] = CALL_URING_ACCEPT,
	[16] = CALL_URING_CONNECT,
	[22] = CALL_URING_READ,
	[23] = CALL_URING_WRITE,
	[26] = CALL_URING_SEND,
	[27] = CALL_URING_RECV,
	[30] = CALL_URING_SPLICE,
	[34] = CALL_URING_SHUTDOWN,
	[45] = CALL_URING_SOCKET,
	[47] = CALL_URING_SEND_ZC,
	[48] = CALL_URING_SENDMSG_ZC,
	[56] = CALL_URING_BIND,
	[57] = CALL_URING_LISTEN,
};

/* An operation that is not complete. */
struct operation {
	__u64 entered_ns;
	__u32 call;
	__s32 fd;
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	char comm[COMM_LENGTH];
	char parent_comm[COMM_LENGTH];
};

/* By the address of the request, which is given to another one only when it is complete. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct operation);
} operations SEC(".maps");

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(submit_operation, struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 number = request->opcode, call;
	struct operation operation = {};
	struct call_connection connection;
	struct call_record *record;
	__u64 key = (__u64)request;
	struct telling it;

	if (number >= OPERATIONS)
		return 0;
	call = operation_calls[number];
	if (!call || !(settings.calls >> call & 1) || is_reader(task) ||
	    !is_selected(task))
		return 0;
	if (!begin_record(&it, &connection))
		return 0;
	record = it.record;
	describe_process(record, task);
	operation.pid = record->pid;
	operation.tid = record->tid;
	operation.ppid = record->ppid;
	operation.uid = record->uid;
	__builtin_memcpy(operation.comm, record->comm, COMM_LENGTH);
	__builtin_memcpy(operation.parent_comm, record->parent_comm, COMM_LENGTH);
	operation.call = call;
	operation.fd = request->flags & REQ_F_FIXED_FILE ? -1 : request->cqe.fd;
	operation.entered_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&operations, &key, &operation, BPF_ANY))
		count(COUNT_NOT_REMEMBERED);
	return 0;
}

SEC("tp_btf/io_uring_complete")
int BPF_PROG(complete_operation, void *ring, void *address, struct io_uring_cqe *result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct io_kiocb *request = AT(address, struct io_kiocb);
	__u64 key = (__u64)address;
	struct operation *operation = bpf_map_lookup_elem(&operations, &key);
	struct call_connection connection;
	struct call_record *record;
	struct file *file = NULL;
	struct telling it;
	__u32 call;

	if (!operation)
		return 0;
	if (!begin_record(&it, &connection))
		return 0;
	record = it.record;
	call = operation->call;
	record->kind = RECORD_RETURN;
	record->call = call;
	record->result = result->res;
	record->time_ns = bpf_ktime_get_ns();
	record->duration_ns = record->time_ns - operation->entered_ns;
	record->fd = operation->fd;
	record->pid = operation->pid;
	record->tid = operation->tid;
	record->ppid = operation->ppid;
	record->uid = operation->uid;
	__builtin_memcpy(record->comm, operation->comm, COMM_LENGTH);
	__builtin_memcpy(record->parent_comm, operation->parent_comm, COMM_LENGTH);
	if (!(result->flags & IORING_CQE_F_MORE))
		bpf_map_delete_elem(&operations, &key);

	if (call == CALL_URING_SOCKET)
		record->fd = record->result < 0 ? -1 : record->result;
	else
		file = READ(request, file);
	if (file && !is_socket(file))
		return 0;
	/* The new socket is found only where it is this process's own table of descriptors. */
	if ((call == CALL_URING_ACCEPT || call == CALL_URING_SOCKET) && record->result >= 0 &&
	    number_of(task) == record->pid) {
		struct file *made = socket_file(task, record->result);

		if (made)
			file = made;
	}
	if (file) {
		read_connection(file, it.connection);
		read_paths(&it, file);
		record->flags |= RECORD_CONNECTION;
	}
	tell(&it, NULL, NULL);
	return 0;
}

#endif
