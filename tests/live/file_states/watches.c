/* SPDX-License-Identifier: MIT */
/* Epoll sets and inotify. World: user. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "state.h"

static int set = -1, inner = -1, one = -1, two = -1;

static void add(int epoll, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}
/* The data of the one event that is there; 0 for none. */
static uint64_t next(int epoll, uint32_t* events) {
  struct epoll_event event = {0, {0}};
  const int n = epoll_wait(epoll, &event, 1, 0);
  EXPECT(n >= 0);
  if (events != NULL) *events = event.events;
  return n == 0 ? 0 : event.data.u64;
}
static void raise_event(int fd) {
  const uint64_t by = 1;
  EXPECT(write(fd, &by, 8) == 8);
}
static void clear_event(int fd) {
  uint64_t count;
  EXPECT(read(fd, &count, 8) == 8);
}

void setup_epoll(void) {
  set = epoll_create1(EPOLL_CLOEXEC);
  one = eventfd(0, 0);
  two = eventfd(0, 0);
  const int twin = dup(one); /* the same file by another number: an entry of its own */
  add(set, one, EPOLLIN | EPOLLET, 0x123456789abcdef0u);
  add(set, two, EPOLLIN | EPOLLONESHOT, 2);
  add(set, twin, EPOLLOUT, 3);
}
void check_epoll(void) {
  uint32_t events = 0;
  EXPECT(next(set, &events) == 3 && events == EPOLLOUT);
  struct epoll_event change = {.events = 0, .data.u64 = 3};
  EXPECT(epoll_ctl(set, EPOLL_CTL_MOD, two + 1, &change) == 0);
  EXPECT(next(set, NULL) == 0);
  raise_event(one);
  EXPECT(next(set, &events) == 0x123456789abcdef0u && events == EPOLLIN);
  EXPECT(next(set, NULL) == 0); /* edge-triggered */
  raise_event(two);
  EXPECT(next(set, NULL) == 2);
  EXPECT(next(set, NULL) == 0); /* once */
  EXPECT(epoll_ctl(set, EPOLL_CTL_DEL, one, NULL) == 0);
  EXPECT(epoll_ctl(set, EPOLL_CTL_DEL, one, NULL) == -1 && errno == ENOENT);
}

void setup_epoll_nested(void) {
  set = epoll_create1(0);
  inner = epoll_create1(0);
  one = eventfd(0, 0);
  add(set, inner, EPOLLIN, 10);
  add(inner, one, EPOLLIN, 20);
}
void check_epoll_nested(void) {
  EXPECT(next(set, NULL) == 0);
  raise_event(one);
  EXPECT(next(set, NULL) == 10 && next(inner, NULL) == 20);
  clear_event(one);
  EXPECT(next(set, NULL) == 0);
}

/* A file that was added as one number and lives on as another; the old one is another file's now,
 * which is in the set, too. */
void setup_epoll_moved(void) {
  set = epoll_create1(0);
  one = eventfd(0, 0);
  add(set, one, EPOLLIN, 1);
  const int moved = dup(one);
  two = one;
  EXPECT(dup2(eventfd(0, 0), two) == two);
  add(set, two, EPOLLIN, 2);
  one = moved;
  inner = dup(two); /* and one whose old number is closed */
  EXPECT(fcntl(two, F_DUPFD, 60) == 60);
  add(set, 60, EPOLLIN, 3);
  close(60);
}
void check_epoll_moved(void) {
  raise_event(one);
  EXPECT(next(set, NULL) == 1);
  clear_event(one);
  EXPECT(next(set, NULL) == 0);
  raise_event(two);
  struct epoll_event events[4];
  EXPECT(epoll_wait(set, events, 4, 0) == 2);
  EXPECT(events[0].data.u64 + events[1].data.u64 == 5);
  EXPECT(fcntl(60, F_GETFD) == -1 && errno == EBADF);
}

void setup_epoll_stdin(void) {
  set = epoll_create1(0);
  add(set, 0, EPOLLIN, 7);
}
void check_epoll_stdin(void) {
  EXPECT(next(set, NULL) == 0); /* a pipe to the test: in the child the resumer's */
  EXPECT(epoll_ctl(set, EPOLL_CTL_DEL, 0, NULL) == 0);
}

static char sub[512];
void setup_inotify(void) {
  set = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  snprintf(sub, sizeof sub, "%s", in_folder("watched"));
  close(open(sub, O_WRONLY | O_CREAT, 0600));
  one = inotify_add_watch(set, folder, IN_CREATE);
  EXPECT(inotify_rm_watch(set, one) == 0); /* the number is used up */
  char ignored[64];
  EXPECT(read(set, ignored, sizeof ignored) > 0); /* IN_IGNORED */
  one = inotify_add_watch(set, sub, IN_MODIFY | IN_CLOSE_WRITE);
  EXPECT(one == 2);
}
void check_inotify(void) {
  char room[4096];
  /* Both processes watch the same file in this test, so each looks away while the other writes. */
  while (read(set, room, sizeof room) > 0) {
  }
  const int fd = open(sub, O_WRONLY | O_TRUNC);
  EXPECT(write(fd, "x", 1) == 1);
  struct inotify_event event;
  EXPECT(read(set, room, sizeof room) >= (ssize_t)sizeof event);
  memcpy(&event, room, sizeof event);
  EXPECT(event.wd == one && (event.mask & IN_MODIFY) != 0);
  EXPECT(inotify_rm_watch(set, one) == 0);
  close(fd);
}
