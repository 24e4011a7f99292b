/*
 * An echo server on a free port of 127.0.0.1 that does little more than make system calls,
 * so nearly all of its cost is in the kernel.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char buf[512 * 1024];

static void str_echo(int sockfd)
{
	ssize_t n, sent, done;

	while ((n = read(sockfd, buf, sizeof buf)) > 0)
		for (done = 0; done < n; done += sent)
			if ((sent = write(sockfd, buf + done, n - done)) < 0)
				return;
}

int main(void)
{
	struct sockaddr_in servaddr = { .sin_family = AF_INET };
	socklen_t len = sizeof servaddr;
	int connfd, listenfd = socket(AF_INET, SOCK_STREAM, 0);

	servaddr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listenfd, (struct sockaddr *)&servaddr, len);
	if (listen(listenfd, 1024) < 0)
		return 1;
	getsockname(listenfd, (struct sockaddr *)&servaddr, &len);
	dprintf(2, "tcpserv: listening on 127.0.0.1:%d\n", ntohs(servaddr.sin_port));
	/* The kernel reaps the children. */
	signal(SIGCHLD, SIG_IGN);
	while ((connfd = accept(listenfd, NULL, NULL)) >= 0) {
		/* fork, but without the C library's work */
		if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
			close(listenfd);
			str_echo(connfd);
			_exit(0);
		}
		close(connfd);
	}
	return 1;
}
