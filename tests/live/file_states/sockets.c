/* SPDX-License-Identifier: MIT */
/* Sockets. World: user. Port 7477 is used on each machine by one process at a time. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "state.h"

enum { port = 7477 };
static int ends[2], one = -1, two = -1;

static void expect_read(int fd, const char* text) {
  char got[64];
  const ssize_t length = (ssize_t)strlen(text);
  EXPECT(recv(fd, got, sizeof got, MSG_DONTWAIT) == length &&
         memcmp(got, text, (size_t)length) == 0);
}
static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT(getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}
static void set(int fd, int level, int name, int value) {
  EXPECT(setsockopt(fd, level, name, &value, sizeof value) == 0);
}
/* Within 10 s a write fails, as when the peer has closed. */
static void expect_broken(int fd) {
  for (int i = 0; i < 1000; ++i) {
    if (send(fd, "x", 1, MSG_NOSIGNAL) < 0) {
      EXPECT(errno == EPIPE || errno == ECONNRESET || errno == ECONNREFUSED);
      return;
    }
    poll(NULL, 0, 10);
  }
  EXPECT(!"a write fails");
}

void setup_socketpair_stream(void) {
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  set(ends[0], SOL_SOCKET, SO_SNDBUF, 40000);
  EXPECT(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  EXPECT(write(ends[0], "to ", 3) == 3 && write(ends[0], "one", 3) == 3);
  EXPECT(write(ends[1], "to zero", 7) == 7);
}
void check_socketpair_stream(void) {
  EXPECT(option(ends[0], SOL_SOCKET, SO_SNDBUF) == 80000);
  EXPECT((fcntl(ends[0], F_GETFL) & O_NONBLOCK) != 0 &&
         (fcntl(ends[1], F_GETFL) & O_NONBLOCK) == 0);
  EXPECT(fcntl(ends[1], F_GETFD) == FD_CLOEXEC);
  expect_read(ends[1], "to one");
  expect_read(ends[0], "to zero");
  EXPECT(write(ends[1], "more", 4) == 4);
  expect_read(ends[0], "more");
  close(ends[1]);
  expect_read(ends[0], "");
}

static void setup_packets(int type) {
  EXPECT(socketpair(AF_UNIX, type, 0, ends) == 0);
  one = dup(ends[1]);
  EXPECT(write(ends[0], "first", 5) == 5 && write(ends[0], "second one", 10) == 10);
}
static void check_packets(void) {
  expect_read(ends[1], "first");
  expect_read(one, "second one");
  EXPECT(write(one, "back", 4) == 4);
  expect_read(ends[0], "back");
  EXPECT(option(ends[1], SOL_SOCKET, SO_PEEK_OFF) == -1); /* as before the capture */
}
void setup_socketpair_dgram(void) {
  setup_packets(SOCK_DGRAM);
}
void check_socketpair_dgram(void) {
  check_packets();
}
void setup_socketpair_seqpacket(void) {
  setup_packets(SOCK_SEQPACKET);
}
void check_socketpair_seqpacket(void) {
  check_packets();
}

void setup_socketpair_shut(void) {
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  EXPECT(write(ends[0], "end", 3) == 3 && shutdown(ends[0], SHUT_WR) == 0);
}
void check_socketpair_shut(void) {
  expect_read(ends[1], "end");
  expect_read(ends[1], "");
  EXPECT(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
  EXPECT(write(ends[1], "back", 4) == 4);
  expect_read(ends[0], "back");
}

void setup_socketpair_closed(void) {
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  EXPECT(write(ends[1], "left", 4) == 4);
  close(ends[1]);
}
void check_socketpair_closed(void) {
  expect_read(ends[0], "left");
  expect_read(ends[0], "");
  expect_broken(ends[0]);
}

static void address_v4(struct sockaddr_in* at) {
  memset(at, 0, sizeof *at);
  at->sin_family = AF_INET;
  at->sin_port = htons(port);
  at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}
/* Somebody can connect, and is accepted. */
static void expect_served(int listener, const struct sockaddr* at, socklen_t size, int type) {
  const int client = socket(at->sa_family, type, 0);
  EXPECT(connect(client, at, size) == 0 && write(client, "hello", 5) == 5);
  EXPECT(ready_soon(listener, POLLIN));
  const int server = accept(listener, NULL, NULL);
  EXPECT(server > 0 && ready_soon(server, POLLIN));
  expect_read(server, "hello");
  close(client);
  close(server);
}

void setup_tcp_listener(void) {
  struct sockaddr_in at;
  address_v4(&at);
  at.sin_addr.s_addr = INADDR_ANY;
  one = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  set(one, SOL_SOCKET, SO_REUSEADDR, 1);
  set(one, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(one, IPPROTO_TCP, TCP_NODELAY, 1);
  set(one, IPPROTO_TCP, TCP_KEEPIDLE, 77);
  set(one, SOL_SOCKET, SO_RCVBUF, 50000);
  EXPECT(bind(one, (struct sockaddr*)&at, sizeof at) == 0 && listen(one, 3) == 0);
}
void check_tcp_listener(void) {
  EXPECT(option(one, SOL_SOCKET, SO_ACCEPTCONN) == 1 && option(one, SOL_SOCKET, SO_REUSEADDR) == 1);
  EXPECT(option(one, SOL_SOCKET, SO_KEEPALIVE) == 1 && option(one, IPPROTO_TCP, TCP_NODELAY) == 1);
  EXPECT(option(one, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
  EXPECT(option(one, SOL_SOCKET, SO_RCVBUF) == 100000);
  EXPECT((fcntl(one, F_GETFL) & O_NONBLOCK) != 0);
  struct tcp_info info;
  socklen_t size = sizeof info;
  EXPECT(getsockopt(one, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_sacked == 3);
  struct sockaddr_in at;
  address_v4(&at);
  expect_served(one, (struct sockaddr*)&at, sizeof at, SOCK_STREAM);
}

void setup_tcp_listener_v6(void) {
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  one = socket(AF_INET6, SOCK_STREAM, 0);
  set(one, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set(one, SOL_SOCKET, SO_REUSEPORT, 1);
  EXPECT(bind(one, (struct sockaddr*)&at, sizeof at) == 0 && listen(one, 5) == 0);
}
void check_tcp_listener_v6(void) {
  struct sockaddr_in6 at;
  socklen_t size = sizeof at;
  EXPECT(option(one, IPPROTO_IPV6, IPV6_V6ONLY) == 1 && option(one, SOL_SOCKET, SO_REUSEPORT) == 1);
  EXPECT(getsockname(one, (struct sockaddr*)&at, &size) == 0 && at.sin6_port == htons(port));
  at.sin6_addr = in6addr_loopback;
  expect_served(one, (struct sockaddr*)&at, sizeof at, SOCK_STREAM);
}

void setup_tcp_idle(void) {
  one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct timeval patience = {3, 500000};
  const struct linger linger = {1, 7};
  EXPECT(setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  EXPECT(setsockopt(one, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
}
void check_tcp_idle(void) {
  struct timeval patience;
  struct linger linger;
  socklen_t size = sizeof patience;
  EXPECT(getsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &patience, &size) == 0);
  EXPECT(patience.tv_sec == 3 && patience.tv_usec > 400000);
  size = sizeof linger;
  EXPECT(getsockopt(one, SOL_SOCKET, SO_LINGER, &linger, &size) == 0);
  EXPECT(linger.l_onoff == 1 && linger.l_linger == 7);
  struct sockaddr_in at;
  address_v4(&at);
  EXPECT(bind(one, (struct sockaddr*)&at, sizeof at) == 0 && listen(one, 1) == 0);
  expect_served(one, (struct sockaddr*)&at, sizeof at, SOCK_STREAM);
}

/* Another process: echoes what it reads, until the connection ends. */
static void echo(int fd) {
  if (fork() != 0) return;
  for (int other = 3; other < 64; ++other) {
    if (other != fd) close(other);
  }
  char bytes[64];
  ssize_t n;
  while ((n = read(fd, bytes, sizeof bytes)) > 0) EXPECT(write(fd, bytes, (size_t)n) == n);
  _exit(0);
}
static void check_connection(int fd) {
  char got[8];
  if (is_child) {
    EXPECT(ready_soon(fd, POLLIN) && read(fd, got, sizeof got) == 0);
    expect_broken(fd);
    return;
  }
  EXPECT(write(fd, "ping", 4) == 4 && ready_soon(fd, POLLIN));
  expect_read(fd, "ping");
}
void setup_tcp_connection(void) {
  struct sockaddr_in at;
  address_v4(&at);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  EXPECT(bind(listener, (struct sockaddr*)&at, sizeof at) == 0 && listen(listener, 1) == 0);
  two = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(connect(two, (struct sockaddr*)&at, sizeof at) == 0);
  one = accept(listener, NULL, NULL);
  set(one, IPPROTO_TCP, TCP_NODELAY, 1);
  EXPECT(one > 0);
  close(listener);
  echo(two);
  close(two);
}
void check_tcp_connection(void) {
  EXPECT(option(one, IPPROTO_TCP, TCP_NODELAY) == 1);
  struct sockaddr_in at;
  socklen_t size = sizeof at;
  EXPECT(getpeername(one, (struct sockaddr*)&at, &size) == 0);
  check_connection(one);
}

void setup_udp(void) {
  struct sockaddr_in at;
  address_v4(&at);
  at.sin_addr.s_addr = INADDR_ANY;
  one = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  set(one, SOL_SOCKET, SO_BROADCAST, 1);
  set(one, IPPROTO_IP, IP_TOS, 0x10);
  EXPECT(bind(one, (struct sockaddr*)&at, sizeof at) == 0);
}
void check_udp(void) {
  EXPECT(option(one, SOL_SOCKET, SO_BROADCAST) == 1 && option(one, IPPROTO_IP, IP_TOS) == 0x10);
  struct sockaddr_in at;
  address_v4(&at);
  const int client = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(sendto(client, "dgram", 5, 0, (struct sockaddr*)&at, sizeof at) == 5);
  EXPECT(ready_soon(one, POLLIN));
  expect_read(one, "dgram");
}

void setup_udp_connected(void) {
  struct sockaddr_in at;
  address_v4(&at);
  one = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(connect(one, (struct sockaddr*)&at, sizeof at) == 0);
}
void check_udp_connected(void) {
  struct sockaddr_in at;
  socklen_t size = sizeof at;
  EXPECT(getpeername(one, (struct sockaddr*)&at, &size) == 0 && at.sin_port == htons(port));
  address_v4(&at);
  const int server = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(bind(server, (struct sockaddr*)&at, sizeof at) == 0);
  EXPECT(send(one, "dgram", 5, 0) == 5 && ready_soon(server, POLLIN));
  expect_read(server, "dgram");
}

static struct sockaddr_un unix_at;
static socklen_t unix_size;
static void unix_path(const char* name) {
  memset(&unix_at, 0, sizeof unix_at);
  unix_at.sun_family = AF_UNIX;
  snprintf(unix_at.sun_path, sizeof unix_at.sun_path, "%s/%.40s", folder, name);
  unix_size = sizeof unix_at;
}
void setup_unix_listener(void) { /* the test removes the path before the child is resumed */
  unix_path("socket");
  one = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  EXPECT(bind(one, (struct sockaddr*)&unix_at, unix_size) == 0 && listen(one, 4) == 0);
  EXPECT(chmod(unix_at.sun_path, 0640) == 0);
}
void check_unix_listener(void) {
  struct sockaddr_un at;
  socklen_t size = sizeof at;
  struct stat is;
  EXPECT(getsockname(one, (struct sockaddr*)&at, &size) == 0);
  EXPECT(strcmp(at.sun_path, unix_at.sun_path) == 0 && option(one, SOL_SOCKET, SO_ACCEPTCONN) == 1);
  if (!is_child) return; /* its path is the child's now */
  EXPECT(stat(unix_at.sun_path, &is) == 0 && (is.st_mode & 0777) == 0640);
  expect_served(one, (struct sockaddr*)&unix_at, unix_size, SOCK_SEQPACKET);
}

void setup_unix_listener_abstract(void) {
  memset(&unix_at, 0, sizeof unix_at);
  unix_at.sun_family = AF_UNIX;
  memcpy(unix_at.sun_path, "\0states\0x", 9);
  unix_size = offsetof(struct sockaddr_un, sun_path) + 9;
  one = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT(bind(one, (struct sockaddr*)&unix_at, unix_size) == 0 && listen(one, 4) == 0);
}
void check_unix_listener_abstract(void) {
  expect_served(one, (struct sockaddr*)&unix_at, unix_size, SOCK_STREAM);
}

void setup_unix_connection(void) {
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  echo(ends[1]);
  close(ends[1]);
}
void check_unix_connection(void) {
  check_connection(ends[0]);
}

void setup_unix_dgram_gone(void) { /* the test removes the path: nobody listens on that machine */
  unix_path("syslog");
  two = socket(AF_UNIX, SOCK_DGRAM, 0);
  EXPECT(bind(two, (struct sockaddr*)&unix_at, unix_size) == 0);
  one = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  EXPECT(connect(one, (struct sockaddr*)&unix_at, unix_size) == 0);
  echo(two);
  close(two);
}
void check_unix_dgram_gone(void) {
  EXPECT(option(one, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
  if (is_child) {
    expect_broken(one);
  } else {
    EXPECT(send(one, "", 0, 0) == 0); /* ends the other process */
  }
}
