/* SPDX-License-Identifier: MIT */
/* States: scheduling, and attributes of the process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"

/* ---- scheduling ---------------------------------------------------------------------------------
 */

enum { idle_io = 3 << 13 };

void set_scheduling(void) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  must_call(sched_setaffinity(0, sizeof first, &first), "sched_setaffinity");
  const struct sched_param none = {0};
  must_call(sched_setscheduler(0, SCHED_BATCH, &none), "sched_setscheduler");
  must_call(setpriority(PRIO_PROCESS, 0, -3), "setpriority");
  must_call(syscall(SYS_ioprio_set, 1, 0, idle_io), "ioprio_set");
  must_call(prctl(PR_SET_TIMERSLACK, 77777), "PR_SET_TIMERSLACK");
}

void check_scheduling(enum who who) {
  (void)who;
  cpu_set_t cpus;
  must_call(sched_getaffinity(0, sizeof cpus, &cpus), "sched_getaffinity");
  must(CPU_COUNT(&cpus) == 1 && CPU_ISSET(0, &cpus), "bound to %d CPUs", CPU_COUNT(&cpus));
  must(sched_getscheduler(0) == SCHED_BATCH, "the policy is %d", sched_getscheduler(0));
  must(getpriority(PRIO_PROCESS, 0) == -3, "nice is %d", getpriority(PRIO_PROCESS, 0));
  must(syscall(SYS_ioprio_get, 1, 0) == idle_io, "another I/O priority");
  must(prctl(PR_GET_TIMERSLACK) == 77777, "the timer slack is %d", prctl(PR_GET_TIMERSLACK));
}

void set_real_time(void) {
  const struct sched_param three = {3};
  must_call(setpriority(PRIO_PROCESS, 0, 4), "setpriority");
  must_call(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &three), "sched_setscheduler");
}

void check_real_time(enum who who) {
  (void)who;
  struct sched_param is;
  must(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK), "the policy is %d",
       sched_getscheduler(0));
  sched_getparam(0, &is);
  must(is.sched_priority == 3, "the priority is %d", is.sched_priority);
  must(getpriority(PRIO_PROCESS, 0) == 4, "nice is %d", getpriority(PRIO_PROCESS, 0));
}

/* ---- attributes ---------------------------------------------------------------------------------
 */

static int oom_score_adj(void) {
  char text[16] = "";
  const int fd = open("/proc/self/oom_score_adj", O_RDONLY);
  must(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "no oom_score_adj");
  close(fd);
  return atoi(text);
}

void set_attributes(void) {
  FILE* file = fopen("/proc/self/oom_score_adj", "w");
  must(file != NULL && fputs("321", file) >= 0 && fclose(file) == 0, "oom_score_adj");
  must_call(personality(ADDR_NO_RANDOMIZE | SHORT_INODE), "personality");
  must_call(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
  must_call(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
  must_call(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), "PR_SET_THP_DISABLE");
  must_call(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER");
  must_call(prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0), "PR_SET_PDEATHSIG");
  must_call(prctl(PR_SET_SECUREBITS, 1 << 2, 0, 0, 0), "PR_SET_SECUREBITS"); /* no setuid fixup */
  must_call(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0), "membarrier");
}

void check_attributes(enum who who) {
  (void)who;
  int is = 0;
  must(oom_score_adj() == 321, "oom_score_adj is %d", oom_score_adj());
  must(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | SHORT_INODE), "the personality is %x",
       (unsigned)personality(0xffffffff));
  must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "new privileges");
  must(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
  must(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "huge pages");
  must(prctl(PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0) == 0 && is == 1, "not a subreaper");
  must(prctl(PR_GET_PDEATHSIG, &is, 0, 0, 0) == 0 && is == SIGUSR2, "the death signal is %d", is);
  must(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == 1 << 2, "other securebits");
  must_call(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "membarrier");
}

/* ---- limits
 * --------------------------------------------------------------------------------------- */

void set_limits(void) {
  const struct rlimit files = {200, 300}, core = {0, 0}, stack = {4 << 20, 16 << 20};
  must_call(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  must_call(setrlimit(RLIMIT_CORE, &core), "setrlimit");
  must_call(setrlimit(RLIMIT_STACK, &stack), "setrlimit");
}

void check_limits(enum who who) {
  (void)who;
  struct rlimit is;
  getrlimit(RLIMIT_NOFILE, &is);
  must(is.rlim_cur == 200 && is.rlim_max == 300, "files: %ld, %ld", (long)is.rlim_cur,
       (long)is.rlim_max);
  getrlimit(RLIMIT_CORE, &is);
  must(is.rlim_cur == 0 && is.rlim_max == 0, "core");
  getrlimit(RLIMIT_STACK, &is);
  must(is.rlim_cur == 4 << 20 && is.rlim_max == 16 << 20, "stack");
}
