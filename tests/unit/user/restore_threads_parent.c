/* SPDX-License-Identifier: MIT
 * A program of many threads that the restore tests capture, each in another state: waiting for a
 * mutex, sleeping, computing with vector registers. Resumed, each checks what is its own. Exits
 * with 0, or with the number of the check that failed. World: user.
 * Usage: restore_threads_parent FACTS-FILE THREADS [same|own]
 * same: after the resume all numbers are as before, and another user has no capabilities.
 * own: then a real-time signal waits for thread 2, and it has a nice of 5. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { most = 200, altstack_bytes = 16 << 10 };

/* As restore_capture.hpp reads them. */
struct thread_facts {
  uint64_t tid, clear_child_tid, altstack_base, altstack_bytes, altstack_flags;
};
static struct {
  uint64_t clear_child_tid, brk;
  uint64_t altstack_base, altstack_bytes, altstack_flags;
  uint64_t actions[64][4];
  struct thread_facts threads[most];
} facts;

static int threads, same, own;
static atomic_int ready, seen, resumed, release;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held by the leader at the capture */
static pthread_mutex_t robust[most];
static char stacks[most][altstack_bytes];
static __thread int mine = -1;
static __thread volatile int signals_seen;

#define CHECK(number, condition) \
  if (!(condition)) _exit(number)

static void on_signal(int signal) {
  char here;
  signals_seen = &here >= stacks[mine] && &here < stacks[mine] + altstack_bytes ? signal : -1;
}

static int has_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return 1;
  return (data[0].permitted | data[1].permitted | data[0].effective | data[1].effective) != 0;
}

/* Keeps values in vector registers until the program has been resumed. */
static int spin_with_vector_in_use(int i) {
  uint64_t in[2] = {(uint64_t)i * 0x0101010101010101u, ~(uint64_t)i}, out[2] = {0, 0};
  __asm__ volatile(
      "movdqu %2, %%xmm7\n\t"
      "1: pause\n\t"
      "cmpl $0, %1\n\t"
      "je 1b\n\t"
      "movdqu %%xmm7, %0"
      : "=m"(out)
      : "m"(resumed), "m"(in)
      : "xmm7", "memory", "cc");
  return memcmp(in, out, sizeof in) == 0;
}

static void* run(void* argument) {
  const int i = (int)(intptr_t)argument;
  mine = i;
  char name[16], other[16] = "";
  snprintf(name, sizeof name, "thread-%d", i);
  prctl(PR_SET_NAME, name, 0, 0, 0);
  stack_t stack = {.ss_sp = stacks[i], .ss_size = altstack_bytes};
  sigaltstack(&stack, NULL);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGRTMIN + i % 8);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  if (same) pthread_mutex_lock(&robust[i]);
  struct thread_facts* f = &facts.threads[i];
  f->tid = (uint64_t)syscall(SYS_gettid);
  prctl(PR_GET_TID_ADDRESS, &f->clear_child_tid, 0, 0, 0);
  f->altstack_base = (uint64_t)stacks[i];
  f->altstack_bytes = altstack_bytes;
  atomic_fetch_add(&ready, 1);
  if (i % 3 == 0) {
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
  } else if (i % 3 == 1 || i > 8) {
    const struct timespec blink = {3600, 0};
    while (!resumed) {
      if (nanosleep(&blink, NULL) != 0) CHECK(10, errno == EINTR);
    }
  } else {
    CHECK(11, spin_with_vector_in_use(i));
  }
  CHECK(12, resumed && mine == i);
  prctl(PR_GET_NAME, other, 0, 0, 0);
  CHECK(13, strcmp(name, other) == 0);
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (int k = 0; k < 8; ++k) CHECK(14, sigismember(&mask, SIGRTMIN + k) == (k == i % 8));
  sigset_t waiting;
  sigpending(&waiting);
  if (own) {
    const int third = i == 2;
    CHECK(21, sigismember(&waiting, SIGRTMIN + 2) == third);
    CHECK(22, getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)) == (third ? 5 : 0));
  }
  signals_seen = 0;
  /* The C library sends it to the number that it keeps of this thread. */
  CHECK(15, pthread_kill(pthread_self(), SIGUSR1) == 0 && signals_seen == SIGUSR1);
  pthread_mutex_t error_check;
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&error_check, &kind);
  CHECK(16, pthread_mutex_lock(&error_check) == 0);
  CHECK(17, error_check.__data.__owner == (int)syscall(SYS_gettid));
  CHECK(19, !same || (pid_t)f->tid == (pid_t)syscall(SYS_gettid));
  CHECK(20, !same || geteuid() == 0 || !has_capabilities());
  if (!same) CHECK(18, pthread_mutex_lock(&robust[i]) == 0); /* and is never unlocked */
  atomic_fetch_add(&seen, 1);
  while (!release) usleep(1000);
  return (void*)(intptr_t)(i + 1);
}

int main(int argc, char** argv) {
  same = argc == 4 && strcmp(argv[3], "same") == 0;
  own = argc == 4 && strcmp(argv[3], "own") == 0;
  CHECK(98, argc >= 3 && (threads = atoi(argv[2])) <= most);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  struct sigaction quiet = {.sa_handler = SIG_IGN};
  sigaction(SIGUSR2, &quiet, NULL);
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_t ids[most];
  pthread_mutex_lock(&gate);
  for (int i = 0; i < threads; ++i) {
    pthread_mutex_init(&robust[i], &kind);
    CHECK(97, pthread_create(&ids[i], NULL, run, (void*)(intptr_t)i) == 0);
  }
  while (ready < threads) usleep(1000);
  prctl(PR_GET_TID_ADDRESS, &facts.clear_child_tid, 0, 0, 0);
  facts.brk = (uint64_t)syscall(SYS_brk, 0);
  facts.altstack_flags = 2;
  for (int i = 0; i < 64; ++i) syscall(SYS_rt_sigaction, i + 1, NULL, facts.actions[i], 8);
  const int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (write(fd, &facts, sizeof facts) != (ssize_t)sizeof facts) _exit(99);
  close(fd);

  const pid_t number = getpid();
  CHECK(1, syscall(SYS_tgkill, number, number, SIGSTOP) == 0);
  CHECK(8, !same || (getpid() == number && (geteuid() == 0 || !has_capabilities())));
  resumed = 1;
  pthread_mutex_unlock(&gate);
  while (seen < threads) { /* again and again: one may be about to sleep */
    for (int i = 0; i < threads; ++i) {
      if (i % 3 != 0) pthread_kill(ids[i], SIGUSR1);
    }
    usleep(1000);
  }
  const pid_t child = fork(); /* a copy of the address space, of one thread */
  if (child == 0) _exit(mine == -1 && seen == threads ? 5 : 6);
  int status = 0;
  CHECK(2, waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5);
  release = 1;
  for (int i = 0; i < threads; ++i) {
    void* answer = NULL;
    CHECK(3, pthread_join(ids[i], &answer) == 0 && (intptr_t)answer == i + 1);
    CHECK(4, pthread_mutex_lock(&robust[i]) == EOWNERDEAD);
  }
  pthread_t more;
  for (int i = 0; i < threads; ++i) pthread_mutex_consistent(&robust[i]);
  pthread_mutex_unlock(&robust[0]);
  same = own = 0;
  CHECK(5, pthread_create(&more, NULL, run, (void*)(intptr_t)0) == 0);
  CHECK(6, pthread_join(more, NULL) == 0);
  CHECK(7, printf("restored\n") > 0 && fflush(stdout) == 0);
  return 0;
}
