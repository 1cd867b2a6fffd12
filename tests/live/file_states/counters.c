/* SPDX-License-Identifier: MIT */
/* Timers and signals by descriptor, O_ASYNC, terminals. World: user. */
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

#include "state.h"

static int one = -1, two = -1;

static int64_t left_of(int fd, int64_t* interval) {
  struct itimerspec its;
  EXPECT(timerfd_gettime(fd, &its) == 0);
  *interval = its.it_interval.tv_sec;
  return its.it_value.tv_sec;
}

void setup_timerfd(void) {
  one = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  two = timerfd_create(CLOCK_BOOTTIME, 0);
  const struct itimerspec far = {{50, 0}, {1000, 0}}, soon = {{0, 0}, {1, 0}};
  EXPECT(timerfd_settime(one, 0, &far, NULL) == 0 && timerfd_settime(two, 0, &soon, NULL) == 0);
}
void check_timerfd(void) {
  int64_t interval, left = left_of(one, &interval);
  EXPECT(left > 900 && left <= 1000 && interval == 50);
  uint64_t ticks = 0;
  EXPECT(read(one, &ticks, 8) == -1 && errno == EAGAIN);
  EXPECT(read(two, &ticks, 8) == 8 && ticks == 1);
}

static time_t expiry;
void setup_timerfd_wall(void) {
  one = timerfd_create(CLOCK_REALTIME, 0);
  expiry = time(NULL) + 500;
  const struct itimerspec at = {{0, 0}, {expiry, 0}};
  EXPECT(timerfd_settime(one, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) == 0);
}
void check_timerfd_wall(void) {
  struct itimerspec its;
  struct timespec now;
  EXPECT(timerfd_gettime(one, &its) == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0);
  const double end = (double)its.it_value.tv_sec + (double)its.it_value.tv_nsec / 1e9 +
                     (double)now.tv_sec + (double)now.tv_nsec / 1e9;
  EXPECT(end > (double)expiry - 0.5 && end < (double)expiry + 0.5);
}

void setup_timerfd_expired(void) {
  one = timerfd_create(CLOCK_MONOTONIC, 0);
  const struct itimerspec at = {{0, 0}, {0, 1}};
  EXPECT(timerfd_settime(one, 0, &at, NULL) == 0 && ready_soon(one, POLLIN));
}
void check_timerfd_expired(void) {
  uint64_t ticks = 0;
  EXPECT((ready(one) & POLLIN) != 0);
  EXPECT(read(one, &ticks, 8) == 8 && ticks == 1);
  int64_t interval;
  EXPECT(left_of(one, &interval) == 0 && interval == 0);
}

void setup_signalfd(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGRTMIN + 1);
  EXPECT(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  one = signalfd(-1, &set, SFD_NONBLOCK);
  EXPECT(one > 0);
}
void check_signalfd(void) {
  struct signalfd_siginfo info;
  EXPECT(read(one, &info, sizeof info) == -1 && errno == EAGAIN);
  EXPECT(kill(getpid(), SIGUSR2) == 0);
  EXPECT(read(one, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR2);
}

static volatile sig_atomic_t told = 0;
static void on_told(int signal) {
  told = signal;
}
void setup_async(void) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  one = ends[0];
  two = ends[1];
  signal(SIGUSR1, on_told);
  EXPECT(fcntl(one, F_SETOWN, getpid()) == 0 && fcntl(one, F_SETSIG, SIGUSR1) == 0);
  EXPECT(fcntl(one, F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
}
void check_async(void) {
  EXPECT(fcntl(one, F_GETOWN) == getpid() && fcntl(one, F_GETSIG) == SIGUSR1);
  EXPECT((fcntl(one, F_GETFL) & (O_ASYNC | O_NONBLOCK)) == (O_ASYNC | O_NONBLOCK));
  told = 0;
  EXPECT(write(two, "x", 1) == 1);
  EXPECT(told == SIGUSR1); /* sent to ourselves: it is there before write returns */
}

static dev_t of_terminal;
void setup_terminal(void) {
  const int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  int zero = 0, number = -1;
  char name[32];
  EXPECT(master >= 0 && ioctl(master, TIOCSPTLCK, &zero) == 0);
  EXPECT(ioctl(master, TIOCGPTN, &number) == 0);
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  one = open(name, O_RDWR | O_NOCTTY);
  EXPECT(one > 0);
  struct stat is;
  EXPECT(fstat(one, &is) == 0);
  of_terminal = is.st_rdev;
  /* Somebody else has the master, as a terminal emulator would, until we are gone. */
  int ends[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  if (fork() == 0) {
    close(one);
    close(ends[0]);
    char byte;
    while (read(ends[1], &byte, 1) > 0) {
    }
    _exit(0);
  }
  close(ends[1]);
  close(master);
}
void check_terminal(void) {
  struct stat is;
  EXPECT(fstat(one, &is) == 0);
  if (is_child) {
    EXPECT(is.st_rdev != of_terminal); /* the resumer's, or its input where it has none */
  } else {
    EXPECT(is.st_rdev == of_terminal);
  }
}
