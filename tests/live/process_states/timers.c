/* SPDX-License-Identifier: MIT */
/* States: interval timers, POSIX timers, timers that fire. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

/* ---- set far ahead: what is left is told ---------------------------------------------------- */

void set_interval_timers(void) {
  const struct itimerval real = {{7, 5}, {3600, 0}}, cpu = {{0, 0}, {1000, 0}},
                         profile = {{2, 0}, {2000, 0}};
  must_call(setitimer(ITIMER_REAL, &real, NULL), "setitimer");
  must_call(setitimer(ITIMER_VIRTUAL, &cpu, NULL), "setitimer");
  must_call(setitimer(ITIMER_PROF, &profile, NULL), "setitimer");
}

void check_interval_timers(enum who who) {
  (void)who;
  struct itimerval is;
  getitimer(ITIMER_REAL, &is);
  must(is.it_value.tv_sec > 3400 && is.it_value.tv_sec <= 3600, "real: %ld s are left",
       (long)is.it_value.tv_sec);
  must(is.it_interval.tv_sec == 7 && is.it_interval.tv_usec == 5, "real: another interval");
  getitimer(ITIMER_VIRTUAL, &is);
  must(is.it_value.tv_sec > 900 && is.it_interval.tv_sec == 0, "virtual: %ld s are left",
       (long)is.it_value.tv_sec);
  getitimer(ITIMER_PROF, &is);
  must(is.it_value.tv_sec > 1900 && is.it_interval.tv_sec == 2, "profile: %ld s are left",
       (long)is.it_value.tv_sec);
}

/* ---- numbers with gaps, of all kinds ----------------------------------------------------------
 */

/* The kernel's numbers: the C library's timer_t hides them. */
static int ids[4];

static int timer_of(clockid_t clock, int notify, int number, void* value) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = notify;
  event.sigev_signo = number;
  event.sigev_value.sival_ptr = value;
  int id = -1;
  must_call(syscall(SYS_timer_create, clock, &event, &id), "timer_create");
  return id;
}

void set_posix_timers(void) {
  for (int i = 0; i < 40; ++i) {
    syscall(SYS_timer_delete, timer_of(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL));
  }
  ids[0] = timer_of(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, NULL);
  const int gap = timer_of(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL);
  ids[1] = timer_of(CLOCK_BOOTTIME, SIGEV_NONE, 0, NULL);
  ids[2] = timer_of(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR2, NULL);
  ids[3] = timer_of(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMAX, NULL); /* not armed */
  syscall(SYS_timer_delete, gap);
  for (int i = 0; i < 3; ++i) {
    const struct itimerspec is = {{i, 0}, {1000 * (i + 1), 0}};
    must_call(syscall(SYS_timer_settime, ids[i], 0, &is, NULL), "timer_settime");
  }
}

void check_posix_timers(enum who who) {
  (void)who;
  for (int i = 0; i < 4; ++i) {
    struct itimerspec is;
    must_call(syscall(SYS_timer_gettime, ids[i], &is), "timer_gettime");
    const long left = (long)is.it_value.tv_sec, full = i < 3 ? 1000 * (i + 1) : 0;
    must(left <= full && left >= full - 200, "timer %d: %ld s of %ld are left", ids[i], left, full);
    must(is.it_interval.tv_sec == (i < 3 ? i : 0), "timer %d: another interval", ids[i]);
  }
  struct itimerspec is;
  must(syscall(SYS_timer_gettime, ids[3] + 1, &is) < 0 && errno == EINVAL, "a timer too many");
}

/* ---- short ones fire, in every process ---------------------------------------------------------
 */

static volatile sig_atomic_t alarms, ticks;
static void* volatile told;
static int short_id;

static void on_alarm(int number) {
  (void)number;
  ++alarms;
}
static void on_tick(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  if (info->si_code == SI_TIMER) told = info->si_value.sival_ptr;
  ++ticks;
}

void set_fired_timers(void) {
  signal(SIGALRM, on_alarm);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_tick;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGRTMIN + 3, &action, NULL);
  short_id = timer_of(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 3, &short_id);
  const struct itimerspec is = {{0, 50000000}, {0, 50000000}};
  must_call(syscall(SYS_timer_settime, short_id, 0, &is, NULL), "timer_settime");
  const struct itimerval real = {{0, 40000}, {0, 40000}};
  must_call(setitimer(ITIMER_REAL, &real, NULL), "setitimer");
}

void check_fired_timers(enum who who) {
  (void)who;
  const int alarms_before = alarms, ticks_before = ticks;
  struct timespec start, now;
  clock_gettime(CLOCK_REALTIME, &start);
  do {
    const struct timespec wait = {0, 10000000};
    nanosleep(&wait, NULL);
    clock_gettime(CLOCK_REALTIME, &now);
  } while ((alarms < alarms_before + 3 || ticks < ticks_before + 3) &&
           now.tv_sec < start.tv_sec + 30);
  must(alarms >= alarms_before + 3, "the interval timer does not fire");
  must(ticks >= ticks_before + 3, "the POSIX timer does not fire");
  must(told == &short_id, "the POSIX timer tells another value");
}
