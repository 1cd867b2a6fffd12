// SPDX-License-Identifier: MIT
// A program that never heard of mitosis and would notice being captured. World: user (tests).
// Each thread waits or computes in its own way and counts rounds; what it did not expect (an EINTR,
// a register that has changed) it counts as a fault. Answers a line on standard input with one.
#include <errno.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kinds = 11 };
static const char* const names[kinds] = {"registers", "vectors", "nanosleep", "epoll",
                                         "futex",     "read",    "recv",      "sigwait",
                                         "poll",      "signals", "long"};
static _Atomic long rounds[kinds], faults[kinds];
static _Atomic int first_errno[kinds];
static pthread_t suspended;
static _Atomic long told;

static void count(int kind, int good) {
  if (good) {
    atomic_fetch_add(&rounds[kind], 1);
  } else {
    if (atomic_fetch_add(&faults[kind], 1) == 0) atomic_store(&first_errno[kind], errno);
  }
}

static void keep_registers(int kind) {
  for (;;) {
    uint64_t a = 0x1111, b = 0x2222, c = 0x3333, d = 0x4444, e = 0x5555, f = 0x6666, n = 100000;
    __asm__ volatile(
        "1: add $1, %0\n add $1, %1\n add $1, %2\n add $1, %3\n add $1, %4\n add $1, %5\n"
        "dec %6\n jnz 1b"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(n));
    count(kind, a == 0x1111 + 100000 && b == a + 0x1111 && c == b + 0x1111 && d == c + 0x1111 &&
                    e == d + 0x1111 && f == e + 0x1111 && n == 0);
  }
}

// Longer than a time slice in registers: xmm0..3 (or ymm), the x87 stack and the control words.
__attribute__((target("avx"))) static void keep_vectors(int kind) {
  for (;;) {
    __m256d v = _mm256_set_pd(1, 2, 3, 4), w = _mm256_set_pd(5, 6, 7, 8);
    const __m256d one = _mm256_set1_pd(1);
    long double x = 0.5L;
    for (int i = 0; i < 100000; ++i) {
      v = _mm256_add_pd(v, one);
      w = _mm256_add_pd(w, one);
      x += 1;
      __asm__ volatile("" : "+x"(v), "+x"(w), "+t"(x));
    }
    double out[8];
    _mm256_storeu_pd(out, v);
    _mm256_storeu_pd(out + 4, w);
    int good = x == 100000.5L && (_mm_getcsr() & 0x6000) == 0x2000;
    for (int i = 0; i < 4; ++i)
      good = good && out[i] == 4 - i + 100000 && out[4 + i] == 8 - i + 100000;
    count(kind, good);
  }
}

static void on_signal(int signal) {
  (void)signal;
}

static void* run(void* argument) {
  const int kind = (int)(intptr_t)argument;
  const struct timespec soon = {0, 3000000};
  const int epoll = epoll_create1(0);
  uint32_t word = 0;
  int ends[2], pair[2];
  if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) abort();
  const struct timeval patience = {0, 3000};
  setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sigset_t usr1, usr2, none;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  pthread_sigmask(SIG_BLOCK, &usr2, NULL);
  stack_t stack = {malloc(1 << 16), 0, 1 << 16};
  sigaltstack(&stack, NULL);
  _mm_setcsr((_mm_getcsr() & ~0x6000u) | 0x2000u);  // rounds down, here only
  if (kind == 0) keep_registers(kind);
  if (kind == 1 && __builtin_cpu_supports("avx")) keep_vectors(kind);
  for (;;) {
    struct epoll_event event;
    struct timespec left = soon;
    char byte;
    long r = -1;
    switch (kind) {
      case 1:
        usleep(1000);
        count(kind, 1);
        break;
      case 2:
        count(kind, nanosleep(&soon, NULL) == 0);
        break;
      case 3:
        count(kind, epoll_wait(epoll, &event, 1, 3) == 0);
        break;
      case 4:
        r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &left, NULL, 0);
        count(kind, r == -1 && errno == ETIMEDOUT);
        break;
      case 5:  // alone with its pipe: half of the rounds it waits in poll before
        byte = 'x';
        if (write(ends[1], &byte, 1) != 1) abort();
        count(kind, read(ends[0], &byte, 1) == 1);
        usleep(500);
        break;
      case 6:
        count(kind, recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
        break;
      case 7:
        count(kind, sigtimedwait(&usr2, NULL, &soon) == -1 && errno == EAGAIN);
        break;
      case 8:
        count(kind, poll(NULL, 0, 3) == 0);
        break;
      case 9:  // must wake for each signal, and for nothing else
        sigsuspend(&none);
        count(kind, atomic_load(&told) > atomic_load(&rounds[9]));
        break;
      case 10: {  // captures must not make it longer
        struct timespec from, to;
        const struct timespec long_one = {0, 200000000};
        clock_gettime(CLOCK_MONOTONIC, &from);
        r = nanosleep(&long_one, NULL);
        clock_gettime(CLOCK_MONOTONIC, &to);
        count(kind, r == 0 && to.tv_sec - from.tv_sec < 8);
        break;
      }
    }
  }
  return NULL;
}

// Tells the suspended thread again and again, and waits for each time to be heard.
static void* tell(void* ignored) {
  (void)ignored;
  for (;;) {
    atomic_fetch_add(&told, 1);
    pthread_kill(suspended, SIGUSR1);
    for (int i = 0; atomic_load(&rounds[9]) < atomic_load(&told); ++i) {
      usleep(100);
      if (i == 50000) count(9, 0);  // five seconds: the signal was lost
    }
  }
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  pthread_t thread;
  for (int kind = 0; kind < kinds; ++kind) {
    if (pthread_create(&thread, NULL, run, (void*)(intptr_t)kind) != 0) return 1;
    if (kind == 9) suspended = thread;
  }
  pthread_create(&thread, NULL, tell, NULL);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    for (int kind = 0; kind < kinds; ++kind) {
      printf("%s %ld %ld %d;", names[kind], rounds[kind], faults[kind], first_errno[kind]);
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
