/*
 * The plain C peer of the benchmark: an echo server and an echo client of the
 * form that the book gives them, one child for each client and stop-and-wait.
 *
 *   plain serv          listens on a free port of all addresses
 *   plain cli PORT      talks to 127.0.0.1
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

enum { MAXLINE = 4096, LISTENQ = 1024 };

static void quit(const char *what)
{
	perror(what);
	exit(1);
}

static void writen(int fd, const char *buf, size_t left)
{
	while (left > 0) {
		ssize_t n = write(fd, buf, left);
		if (n < 0 && errno != EINTR)
			quit("writen");
		if (n > 0) {
			buf += n;
			left -= n;
		}
	}
}

/* One byte of the connection, out of what the last read brought; 0 at its end. */
static int next_byte(int fd, char *byte)
{
	static char held[MAXLINE], *at;
	static ssize_t left;

	while (left <= 0) {
		left = read(fd, at = held, sizeof held);
		if (left == 0)
			return 0;
		if (left < 0 && errno != EINTR)
			quit("readline");
	}
	left--;
	*byte = *at++;
	return 1;
}

static size_t readline(int fd, char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && next_byte(fd, &line[n]))
		if (line[n++] == '\n')
			break;
	line[n] = 0;
	return n;
}

static void str_cli(FILE *fp, int sockfd)
{
	char line[MAXLINE];

	while (fgets(line, sizeof line, fp) != NULL) {
		writen(sockfd, line, strlen(line));
		if (readline(sockfd, line, sizeof line) == 0)
			quit("server terminated prematurely");
		fputs(line, stdout);
	}
}

static void str_echo(int sockfd)
{
	char buf[MAXLINE];
	ssize_t n;

	while ((n = read(sockfd, buf, sizeof buf)) != 0) {
		if (n > 0)
			writen(sockfd, buf, n);
		else if (errno != EINTR)
			quit("str_echo");
	}
}

static void reap(int signal)
{
	int error = errno;

	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = error;
}

static void serve(int listenfd, struct sockaddr_in *addr)
{
	struct sigaction action = { .sa_handler = reap };
	int on = 1;

	setsockopt(listenfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listenfd, (struct sockaddr *)addr, sizeof *addr) < 0)
		quit("bind");
	if (listen(listenfd, LISTENQ) < 0)
		quit("listen");
	if (sigaction(SIGCHLD, &action, NULL) < 0)
		quit("sigaction");
	for (;;) {
		pid_t child;
		int connfd = accept(listenfd, NULL, NULL);

		if (connfd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			quit("accept");
		}
		if ((child = fork()) < 0)
			quit("fork");
		if (child == 0) {
			close(listenfd);
			str_echo(connfd);
			exit(0);
		}
		close(connfd);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		quit("socket");
	if (argc < 3)
		serve(fd, &addr);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(atoi(argv[2]));
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		quit("connect");
	str_cli(stdin, fd);
	exit(0);
}
