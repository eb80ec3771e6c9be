/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which system calls are about sockets, and where they have what.
 */
#ifndef NETGLASS_CALLS_SYSCALLS_H
#define NETGLASS_CALLS_SYSCALLS_H

#include <asm/unistd.h>

#define SYSCALL_NUMBERS 512

/* By the number of a system call, on the machine that this is built for. */
const volatile __u8 call_numbers[SYSCALL_NUMBERS] = {
	[__NR_socket] = CALL_SOCKET,
	[__NR_socketpair] = CALL_SOCKETPAIR,
	[__NR_bind] = CALL_BIND,
	[__NR_listen] = CALL_LISTEN,
	[__NR_connect] = CALL_CONNECT,
	[__NR_accept] = CALL_ACCEPT,
	[__NR_accept4] = CALL_ACCEPT4,
	[__NR_getsockopt] = CALL_GETSOCKOPT,
	[__NR_shutdown] = CALL_SHUTDOWN,
	[__NR_close] = CALL_CLOSE,
	[__NR_read] = CALL_READ,
	[__NR_readv] = CALL_READV,
	[__NR_pread64] = CALL_PREAD64,
	[__NR_preadv] = CALL_PREADV,
	[__NR_preadv2] = CALL_PREADV2,
	[__NR_write] = CALL_WRITE,
	[__NR_writev] = CALL_WRITEV,
	[__NR_pwrite64] = CALL_PWRITE64,
	[__NR_pwritev] = CALL_PWRITEV,
	[__NR_pwritev2] = CALL_PWRITEV2,
	[__NR_sendto] = CALL_SENDTO,
	[__NR_sendmsg] = CALL_SENDMSG,
	[__NR_sendmmsg] = CALL_SENDMMSG,
	[__NR_recvfrom] = CALL_RECVFROM,
	[__NR_recvmsg] = CALL_RECVMSG,
	[__NR_recvmmsg] = CALL_RECVMMSG,
	[__NR_sendfile] = CALL_SENDFILE,
	[__NR_splice] = CALL_SPLICE,
	[__NR_tee] = CALL_TEE,
	[__NR_dup] = CALL_DUP,
	[__NR_dup3] = CALL_DUP3,
	[__NR_fcntl] = CALL_FCNTL,
	[__NR_ppoll] = CALL_PPOLL,
	[__NR_pselect6] = CALL_PSELECT6,
	[__NR_epoll_pwait] = CALL_EPOLL_PWAIT,
	[__NR_epoll_pwait2] = CALL_EPOLL_PWAIT2,
#ifdef __NR_dup2
	[__NR_dup2] = CALL_DUP2,
#endif
#ifdef __NR_poll
	[__NR_poll] = CALL_POLL,
#endif
#ifdef __NR_select
	[__NR_select] = CALL_SELECT,
#endif
#ifdef __NR_epoll_wait
	[__NR_epoll_wait] = CALL_EPOLL_WAIT,
#endif
};

/* The call that a system call's number stands for, if it is one that is asked for. */
static __always_inline __u32 wanted_call(long number)
{
	__u32 call;

	if ((unsigned long)number >= SYSCALL_NUMBERS)
		return CALL_NONE;
	call = call_numbers[number];
	return settings.calls >> call & 1 ? call : CALL_NONE;
}

/*
 * The arguments of a system call. They are still in the registers when it returns, but for the first
 * one on arm64, which is kept beside.
 */
#if defined(__TARGET_ARCH_x86)
#define FIRST_ARGUMENT(regs) ((regs)->di)
#define SECOND_ARGUMENT(regs) ((regs)->si)
#define THIRD_ARGUMENT(regs) ((regs)->dx)
#define FOURTH_ARGUMENT(regs) ((regs)->r10)
#define FIFTH_ARGUMENT(regs) ((regs)->r8)
#define SYSCALL_NUMBER(regs) ((long)(regs)->orig_ax)
#elif defined(__TARGET_ARCH_arm64)
#define FIRST_ARGUMENT(regs) ((regs)->orig_x0)
#define SECOND_ARGUMENT(regs) ((regs)->regs[1])
#define THIRD_ARGUMENT(regs) ((regs)->regs[2])
#define FOURTH_ARGUMENT(regs) ((regs)->regs[3])
#define FIFTH_ARGUMENT(regs) ((regs)->regs[4])
#define SYSCALL_NUMBER(regs) ((long)(regs)->syscallno)
#else
#error "on this machine it is not known where the arguments of a system call are"
#endif

/* arch/x86/include/asm/thread_info.h: a system call of 32 bits. */
#define TS_COMPAT 2

/* Whether the current call's number is one of a table that is not ours. */
static __always_inline bool is_of_other_table(struct task_struct *task)
{
	return bpf_core_field_exists(task->thread_info.status) &&
	       task->thread_info.status & TS_COMPAT;
}

/* include/uapi/asm-generic/socket.h, include/uapi/linux/fcntl.h */
#define SOL_SOCKET 1
#define SO_ERROR 4
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

/* Whether it is one of those calls of its kind that are about what is followed. */
static __always_inline bool is_about_sockets(__u32 call, struct pt_regs *regs)
{
	if (call == CALL_GETSOCKOPT)
		return (__u32)SECOND_ARGUMENT(regs) == SOL_SOCKET &&
		       (__u32)THIRD_ARGUMENT(regs) == SO_ERROR;
	if (call == CALL_FCNTL)
		return (__u32)SECOND_ARGUMENT(regs) == F_DUPFD ||
		       (__u32)SECOND_ARGUMENT(regs) == F_DUPFD_CLOEXEC;
	return true;
}

/* Whether the call makes its sockets, so that there is none before. */
static __always_inline bool makes_socket(__u32 call)
{
	return call == CALL_SOCKET || call == CALL_SOCKETPAIR;
}

/* Whether the call waits for several descriptors at once. */
static __always_inline bool waits(__u32 call)
{
	return call >= CALL_POLL && call <= CALL_EPOLL_PWAIT2;
}

#endif
