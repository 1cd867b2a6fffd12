/* SPDX-License-Identifier: MIT */
/* What cannot come along, in a parent that was prepared with MITOSIS_LOSSY. World: user. */
#include <linux/netlink.h>
#include <mitosis/mitosis.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "state.h"

static int netlink = -1, copy = -1, process = -1, from_other = -1, set = -1, kept = -1;
static pid_t writer = -1;

/* Another process keeps the other end. */
static int pipe_from_another(void) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  writer = fork();
  if (writer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    for (;;) pause();
  }
  EXPECT(writer > 0);
  close(ends[1]);
  return ends[0];
}

void setup_dropped(void) {
  prepare_flags = MITOSIS_LOSSY;
  netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  copy = dup(netlink);
  process = (int)syscall(SYS_pidfd_open, getpid(), 0);
  from_other = pipe_from_another();
  set = epoll_create1(0);
  kept = memfd_create("kept", 0);
  EXPECT(netlink > 2 && copy > 2 && process > 2 && set > 2 && kept > 2);
  struct epoll_event event = {EPOLLIN, {.fd = netlink}};
  EXPECT(epoll_ctl(set, EPOLL_CTL_ADD, netlink, &event) == 0);
  EXPECT(write(kept, "kept", 4) == 4);
}

static void expect_ended(int fd) {
  char byte;
  EXPECT(read(fd, &byte, 1) == 0);
  EXPECT(write(fd, "x", 1) == -1 && errno == EPIPE);
  EXPECT((ready(fd) & POLLHUP) != 0);
}

void check_dropped(void) {
  char text[4];
  EXPECT(pread(kept, text, 4, 0) == 4 && memcmp(text, "kept", 4) == 0);
  EXPECT((fcntl(netlink, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(copy, F_GETFD) & FD_CLOEXEC) == 0);
  if (!is_child) {  // all of it is as it was
    int protocol = -1;
    socklen_t size = sizeof protocol;
    EXPECT(getsockopt(netlink, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0);
    EXPECT(protocol == NETLINK_ROUTE);
    EXPECT(syscall(SYS_pidfd_send_signal, process, 0, NULL, 0) == 0);
    EXPECT(ready(from_other) == 0);
    kill(writer, SIGKILL);
    EXPECT(waitpid(writer, NULL, 0) == writer && ready_soon(from_other, POLLIN) == POLLHUP);
    return;
  }
  signal(SIGPIPE, SIG_IGN);
  for (const int* fd = (const int[]){netlink, copy, process, from_other, -1}; *fd >= 0; ++fd) {
    expect_ended(*fd);
  }
  struct epoll_event event;
  EXPECT(epoll_wait(set, &event, 1, 0) == 1 && event.data.fd == netlink);
  EXPECT(syscall(SYS_pidfd_send_signal, process, 0, NULL, 0) == -1);
  const int fresh = open("/dev/null", O_RDONLY);
  EXPECT(fresh > kept);  // none of the numbers is free
}
