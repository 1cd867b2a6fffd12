/* SPDX-License-Identifier: MIT */
/* State: several threads, one of which prepares. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"

enum { count = 3 };
static pthread_t threads[count];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int asked, answers; /* with the mutex */
static int caught;         /* atomic: the bit of each thread that has got SIGUSR2 */
static _Thread_local int mine;

static void catch (int number) {
  (void)number;
  __atomic_fetch_or(&caught, 1 << mine, __ATOMIC_SEQ_CST);
}

/* What is a thread's own, as it was set. */
static void check_own(void) {
  char name[16] = "", expected[16];
  snprintf(expected, sizeof expected, "counter-%d", mine);
  must(prctl(PR_GET_NAME, name) == 0 && strcmp(name, expected) == 0, "its name is %s", name);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  must(sigismember(&mask, SIGUSR1) == (mine == 1), "thread %d has another signal mask", mine);
}

static void* answer(void* argument) {
  mine = (int)(intptr_t)argument;
  char name[16];
  snprintf(name, sizeof name, "counter-%d", mine);
  prctl(PR_SET_NAME, name);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  if (mine == 1) pthread_sigmask(SIG_BLOCK, &set, NULL);
  int seen = 0;
  for (;;) {
    pthread_mutex_lock(&mutex);
    ++answers;
    pthread_cond_broadcast(&changed);
    while (asked == seen) pthread_cond_wait(&changed, &mutex);
    seen = asked;
    pthread_mutex_unlock(&mutex);
    check_own();
  }
  return NULL;
}

/* All of them have come to wait. */
static void await_answers(void) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 20;
  int late = 0;
  while (answers < count && late == 0) late = pthread_cond_timedwait(&changed, &mutex, &deadline);
  must(answers == count, "only %d of its threads answer", answers);
}

void set_threads(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = catch;
  must_call(sigaction(SIGUSR2, &action, NULL), "sigaction");
  for (intptr_t i = 0; i < count; ++i) {
    must(pthread_create(&threads[i], NULL, answer, (void*)i) == 0, "pthread_create");
  }
}

void check_threads(enum who who) {
  (void)who;
  pthread_mutex_lock(&mutex);
  await_answers();
  pthread_mutex_unlock(&mutex);
  /* To each thread by the number that the C library has of it. */
  __atomic_store_n(&caught, 0, __ATOMIC_SEQ_CST);
  for (int i = 0; i < count; ++i) must(pthread_kill(threads[i], SIGUSR2) == 0, "pthread_kill");
  pthread_mutex_lock(&mutex);
  answers = 0;
  ++asked;
  pthread_cond_broadcast(&changed);
  await_answers();
  pthread_mutex_unlock(&mutex);
  const int got = __atomic_load_n(&caught, __ATOMIC_SEQ_CST);
  must(got == (1 << count) - 1, "signals came to other threads: %x", (unsigned)got);
  /* The calling thread too is whom the C library takes it for. */
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  must(sigismember(&mask, SIGUSR2) == 0, "the caller's signals are blocked");
  must(pthread_kill(pthread_self(), 0) == 0, "the calling thread");
}
