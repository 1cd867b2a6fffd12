/* SPDX-License-Identifier: MIT */
/* State: seccomp filters, of which a second thread has one more. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"

/* From now on the system call ends in `action` in this thread. */
static void answer(long number, unsigned action) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof code / sizeof *code, code};
  must_call(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}
/* From now on it fails with `error`. */
static void forbid(long number, int error) {
  answer(number, SECCOMP_RET_ERRNO | (unsigned)error);
}
static void expect_forbidden(long number, int error) {
  errno = 0;
  must(syscall(number, 0, 0, 0) == -1 && errno == error, "system call %ld: %s", number,
       strerror(errno));
}
static void expect_filters(long count) {
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/self/task/%ld/status", syscall(SYS_gettid));
  FILE* file = fopen(path, "r");
  must(file != NULL, "%s: %s", path, strerror(errno));
  long has = -1;
  while (fgets(line, sizeof line, file) != NULL) sscanf(line, "Seccomp_filters: %ld", &has);
  fclose(file);
  must(has == count, "%ld filters, not %ld", has, count);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int asked, answered = -1;

static void* other(void* unused) {
  forbid(SYS_getpgrp, 43);
  pthread_mutex_lock(&mutex);
  for (;;) {
    expect_filters(3);
    expect_forbidden(SYS_getppid, 41);
    expect_forbidden(SYS_getpgrp, 43);
    answered = asked;
    pthread_cond_broadcast(&changed);
    while (answered == asked) pthread_cond_wait(&changed, &mutex);
  }
  return unused;
}

void set_seccomp(void) {
  must_call(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  forbid(SYS_getppid, 40);
  forbid(SYS_getppid, 41); /* of two the newer is asked first, and of equal answers counts */
  pthread_t thread;
  must(pthread_create(&thread, NULL, other, NULL) == 0, "pthread_create");
}

void check_seccomp(enum who who) {
  (void)who;
  expect_filters(2);
  expect_forbidden(SYS_getppid, 41);
  must(syscall(SYS_getpgrp) >= 0, "the other thread's filter is this one's too");
  pthread_mutex_lock(&mutex);
  ++asked;
  pthread_cond_broadcast(&changed);
  while (answered != asked) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
}

/* ---- filters that know nothing of what is done to the process ---------------------------------
 */

void set_narrow_seccomp(void) {
  must_call(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  answer(SYS_setsid, SECCOMP_RET_KILL_PROCESS);
  answer(SYS_close_range, SECCOMP_RET_KILL_PROCESS);
  answer(SYS_rt_sigaction, SECCOMP_RET_KILL_PROCESS);
  answer(SYS_ptrace, SECCOMP_RET_KILL_PROCESS);
  forbid(SYS_prctl, 44);
  forbid(SYS_brk, 45);
}
void check_narrow_seccomp(enum who who) {
  (void)who;
  expect_filters(6);
  expect_forbidden(SYS_prctl, 44);
  expect_forbidden(SYS_brk, 45);
}
