/* SPDX-License-Identifier: MIT */
/* State: signals that are pending, for the process and for the thread. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

static unsigned long long pending_of(const char* key) {
  FILE* file = fopen("/proc/self/status", "r");
  must(file != NULL, "no /proc/self/status");
  char line[256];
  unsigned long long set = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) sscanf(line + strlen(key) + 1, "%llx", &set);
  }
  fclose(file);
  return set;
}
static unsigned long long bit(int number) {
  return 1ull << (number - 1);
}

static int blocked_timer;

void set_pending_signals(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int* s = (const int[]){SIGUSR1, SIGUSR2, SIGTERM, SIGRTMIN + 5, 0}; *s != 0; ++s) {
    sigaddset(&blocked, *s);
  }
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGTERM);
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
  /* A real-time signal has a value: of a timer it is known. */
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 5;
  event.sigev_value.sival_int = 4711;
  must_call(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &blocked_timer), "timer_create");
  const struct itimerspec is = {{0, 0}, {0, 1}};
  must_call(syscall(SYS_timer_settime, blocked_timer, 0, &is, NULL), "timer_settime");
  for (int i = 0; i < 5000 && (pending_of("ShdPnd:") & bit(SIGRTMIN + 5)) == 0; ++i) usleep(1000);
}

void check_pending_signals(enum who who) {
  static int taken;
  if (taken) return;
  const unsigned long long process = bit(SIGUSR1) | bit(SIGTERM) | bit(SIGRTMIN + 5);
  must(pending_of("ShdPnd:") == process, "of the process: %llx", pending_of("ShdPnd:"));
  must(pending_of("SigPnd:") == bit(SIGUSR2), "of the thread: %llx", pending_of("SigPnd:"));
  if (who == before) return;
  taken = 1;
  sigset_t usr1, rest;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigemptyset(&rest);
  sigaddset(&rest, SIGRTMIN + 5);
  const struct timespec none = {0, 0};
  siginfo_t info;
  must(sigtimedwait(&usr1, &info, &none) == SIGUSR1, "SIGUSR1 cannot be taken");
  must(sigtimedwait(&rest, &info, &none) == SIGRTMIN + 5, "the timer's cannot be taken");
  must(info.si_code == SI_TIMER && info.si_value.sival_int == 4711, "the timer's value is %d",
       info.si_value.sival_int);
  must(pending_of("ShdPnd:") == bit(SIGTERM), "left: %llx", pending_of("ShdPnd:"));
}
