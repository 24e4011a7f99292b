/*
 * The listings' echo client and server in plain C, in one program. With a port as its argument,
 * the program is the client; without arguments, it is the server, on a free port. Both use
 * 127.0.0.1. The server prints its address as tcpserv does.
 *
 * The server reaps its children, as later in the chapter. With -DLISTING it does not, as
 * in the listing (tests/c_listings.rs), and `PORT serve` starts it on that port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MAXLINE
#define MAXLINE 4096
#endif
#define LISTENQ 1024

static void err_sys(const char *what)
{
	perror(what);
	exit(1);
}

static void writen(int fd, const char *buf, size_t left)
{
	while (left > 0) {
		ssize_t n = write(fd, buf, left);

		if (n < 0 && errno != EINTR)
			err_sys("writen error");
		if (n > 0) {
			buf += n;
			left -= n;
		}
	}
}

static int my_read(int fd, char *c)
{
	static char buf[MAXLINE], *next;
	static ssize_t left;

	while (left <= 0) {
		next = buf;
		left = read(fd, buf, sizeof buf);
		if (left == 0)
			return 0;
		if (left < 0 && errno != EINTR)
			err_sys("readline error");
	}
	left--;
	*c = *next++;
	return 1;
}

static size_t readline(int fd, char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && my_read(fd, &line[n]))
		if (line[n++] == '\n')
			break;
	line[n] = 0;
	return n;
}

static void str_cli(FILE *fp, int sockfd)
{
	char sendline[MAXLINE], recvline[MAXLINE];

	while (fgets(sendline, MAXLINE, fp) != NULL) {
		writen(sockfd, sendline, strlen(sendline));
		if (readline(sockfd, recvline, MAXLINE) == 0) {
			fputs("str_cli: server terminated prematurely\n", stderr);
			exit(1);
		}
		fputs(recvline, stdout);
	}
}

static void str_echo(int sockfd)
{
	char buf[MAXLINE];
	ssize_t n;

	while ((n = read(sockfd, buf, MAXLINE)) != 0)
		if (n > 0)
			writen(sockfd, buf, n);
		else if (errno != EINTR)
			err_sys("str_echo: read error");
}

#ifdef LISTING
#define sig_chld SIG_DFL
#else
static void sig_chld(int signo)
{
	int error = errno;

	(void)signo;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = error;
}
#endif

static void serve(int listenfd, struct sockaddr_in *servaddr)
{
	struct sigaction action = { .sa_handler = sig_chld };
	socklen_t len = sizeof *servaddr;
	int connfd;

	if (bind(listenfd, (struct sockaddr *)servaddr, len) < 0)
		err_sys("bind error");
	if (listen(listenfd, LISTENQ) < 0)
		err_sys("listen error");
	if (sigaction(SIGCHLD, &action, NULL) < 0)
		err_sys("sigaction error");
	getsockname(listenfd, (struct sockaddr *)servaddr, &len);
	fprintf(stderr, "tcpserv: listening on 127.0.0.1:%d\n", ntohs(servaddr->sin_port));
	for (;;) {
		pid_t childpid;

		if ((connfd = accept(listenfd, NULL, NULL)) < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			err_sys("accept error");
		}
		if ((childpid = fork()) < 0)
			err_sys("fork error");
		if (childpid == 0) {
			close(listenfd);
			str_echo(connfd);
			exit(0);
		}
		close(connfd);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in servaddr = { .sin_family = AF_INET };
	int sockfd = socket(AF_INET, SOCK_STREAM, 0);

	if (sockfd < 0)
		err_sys("socket error");
	servaddr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (argc < 2)
		serve(sockfd, &servaddr);
	servaddr.sin_port = htons(atoi(argv[1]));
#ifdef LISTING
	if (argc > 2)
		serve(sockfd, &servaddr);
#endif
	if (connect(sockfd, (struct sockaddr *)&servaddr, sizeof servaddr) < 0)
		err_sys("connect error");
	str_cli(stdin, sockfd);
	exit(0);
}
