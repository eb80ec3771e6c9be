/* Makes each call that is followed, as a client and as a server of its own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in address;

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void receive_all(int fd)
{
	char buffer[64];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) > 0)
		;
}

static void *serve(void *listener)
{
	char buffer[64];
	struct iovec vectors[2] = { { buffer, 3 }, { buffer + 3, 10 } };
	struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };
	int fd = accept4(*(int *)listener, NULL, NULL, SOCK_CLOEXEC);

	check(fd >= 0, "accept4");
	check(recv(fd, buffer, 5, MSG_WAITALL) == 5, "recv");
	check(readv(fd, vectors, 2) > 0, "readv");
	check(recvmsg(fd, &message, 0) > 0, "recvmsg");
	check(pread(fd, buffer, 1, 0) < 0 && errno == ESPIPE, "pread");
	check(write(fd, "done", 4) == 4, "write");
	receive_all(fd);
	close(fd);
	fd = accept(*(int *)listener, NULL, NULL);
	check(fd >= 0, "accept");
	close(fd);
	return NULL;
}

static void stream(int listener)
{
	struct iovec vectors[2] = { { "abc", 3 }, { "defgh", 5 } };
	struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };
	struct mmsghdr messages[2] = { { message }, { message } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), file, copy, other, pipes[2], error;
	socklen_t length = sizeof(error);
	char buffer[16];
	pthread_t thread;

	check(!connect(fd, (struct sockaddr *)&address, sizeof(address)), "connect");
	check(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), "getsockopt");
	check(!pthread_create(&thread, NULL, serve, &listener), "pthread_create");
	check(send(fd, "first", 5, 0) == 5, "send");
	usleep(50000);
	check(writev(fd, vectors, 2) == 8, "writev");
	usleep(50000);
	check(sendmsg(fd, &message, 0) == 8, "sendmsg");
	check(recv(fd, buffer, 4, MSG_WAITALL) == 4, "recv");
	check(recv(fd, buffer, 4, MSG_DONTWAIT) < 0 && errno == EAGAIN, "recv");
	check(sendmmsg(fd, messages, 2, 0) == 2, "sendmmsg");
	file = open("/proc/self/exe", O_RDONLY);
	check(sendfile(fd, file, NULL, 100) == 100, "sendfile");
	check(!pipe(pipes) && write(pipes[1], "piped", 5) == 5, "pipe");
	check(splice(pipes[0], NULL, fd, NULL, 5, 0) == 5, "splice");
	copy = dup(fd);
	check(dup2(fd, 100) == 100 && dup3(fd, 101, O_CLOEXEC) == 101, "dup2");
	other = fcntl(fd, F_DUPFD_CLOEXEC, 50);
	check(other >= 50 && copy >= 0, "fcntl");
	close(copy);
	close(other);
	check(!shutdown(fd, SHUT_WR), "shutdown");
	receive_all(fd);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	check(!connect(fd, (struct sockaddr *)&address, sizeof(address)), "connect");
	check(!pthread_join(thread, NULL), "pthread_join");
	receive_all(fd);
	/* A pointer into nowhere. */
	check(write(fd, (void *)8, 4) < 0, "write");
	check(sendmsg(fd, (void *)8, 0) < 0 && errno == EFAULT, "sendmsg");
	check(writev(fd, (void *)8, 2) < 0 && errno == EFAULT, "writev");
	check(connect(fd, (void *)8, sizeof(address)) < 0, "connect");
	close(fd);
}

static void datagrams(void)
{
	char buffer[16];
	struct iovec vector = { buffer, sizeof(buffer) };
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	struct mmsghdr messages[2] = {
		{ { .msg_iov = &vector, .msg_iovlen = 1 } }, { { .msg_iov = &vector, .msg_iovlen = 1 } }
	};
	int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);

	check(!bind(server, (struct sockaddr *)&address, sizeof(address)), "bind");
	for (int i = 0; i < 3; i++)
		check(sendto(client, "abc", 3, 0, (struct sockaddr *)&address, sizeof(address)) == 3,
		      "sendto");
	check(recvfrom(server, buffer, 16, 0, (struct sockaddr *)&from, &length) == 3, "recvfrom");
	check(recvmmsg(server, messages, 2, MSG_DONTWAIT, NULL) == 2, "recvmmsg");
	close(client);
	close(server);
}

int main(void)
{
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), status;

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(socket(12345, 0, 0) < 0, "socket");
	check(!bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	check(!listen(listener, 8), "listen");
	check(!getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
	if (!fork()) {
		stream(listener);
		exit(0);
	}
	check(wait(&status) > 0 && !status, "child");
	datagrams();
	close(listener);
	close(listener);
	/* Nobody listens any more. */
	listener = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 nobody = { .sin6_family = AF_INET6, .sin6_port = htons(1) };
	nobody.sin6_addr = in6addr_loopback;
	check(connect(listener, (struct sockaddr *)&nobody, sizeof(nobody)) < 0, "connect");
	close(listener);
	return 0;
}
