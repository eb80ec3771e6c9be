/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Numbers of the kernel's headers that our programs need.
 */
#ifndef NETGLASS_INET_H
#define NETGLASS_INET_H

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* include/net/sock.h: the port was chosen by bind(2). */
#define SOCK_BINDPORT_LOCK 8

/* include/net/sock.h, enum sock_flags: the peer's FIN has come. */
#define SOCK_DONE 1

/* include/net/tcp_states.h */
enum tcp_state {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
};

/* Whether a connection is open, or was and is being closed; of UDP, whether it has a peer. */
#define has_peer(state)                                                                            \
	((state) == TCP_ESTABLISHED || (state) == TCP_FIN_WAIT1 || (state) == TCP_FIN_WAIT2 ||     \
	 (state) == TCP_CLOSE_WAIT || (state) == TCP_CLOSING || (state) == TCP_LAST_ACK)

/* include/linux/socket.h */
#define MSG_PEEK 0x2
#define MSG_ERRQUEUE 0x2000

/* include/uapi/asm-generic/errno{,-base}.h */
#define EEXIST 17
#define ENOSPC 28
#define ENETUNREACH 101
#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTUNREACH 113

#endif
