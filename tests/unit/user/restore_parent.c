/* SPDX-License-Identifier: MIT
 * The program that the restore tests capture: it prepares state of every kind, tells about itself
 * what only it can, stops itself, and, resumed, checks all of it. Exits with 0, or with the number
 * of the check that failed. World: user.
 * Usage: restore_parent FACTS-FILE DATA-FILE */
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { page = 4096, pages = 300 };

/* As restore_capture.hpp reads it. */
static struct {
  uint64_t clear_child_tid, brk;
  uint64_t altstack_base, altstack_bytes, altstack_flags;
  uint64_t actions[64][4];
} facts;

static int global = 42;
static __thread int local = 43;
static volatile int signals_seen;
static char altstack[64 << 10];

static void on_signal(int signal) {
  char here;
  signals_seen += signal;
  if (&here < altstack || &here >= altstack + sizeof altstack) signals_seen = -1;
}

static void tell_facts(const char* path) {
  prctl(PR_GET_TID_ADDRESS, &facts.clear_child_tid, 0, 0, 0);
  facts.brk = (uint64_t)syscall(SYS_brk, 0);
  stack_t stack;
  sigaltstack(NULL, &stack);
  facts.altstack_base = (uint64_t)stack.ss_sp;
  facts.altstack_bytes = stack.ss_size;
  facts.altstack_flags = (uint64_t)stack.ss_flags;
  for (int i = 0; i < 64; ++i) syscall(SYS_rt_sigaction, i + 1, NULL, facts.actions[i], 8);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (write(fd, &facts, sizeof facts) != (ssize_t)sizeof facts) _exit(99);
  close(fd);
}

static int deep(int levels) { /* 64 KiB of stack a level */
  volatile char room[64 << 10];
  room[0] = (char)levels;
  room[sizeof room - 1] = 1;
  return levels == 0 ? 0 : deep(levels - 1) + room[sizeof room - 1];
}

static void* in_thread(void* argument) {
  local = 7;
  return argument;
}

/* The child goes on behind the system call. AVX where there is: its upper halves are in another
 * part of the state than SSE's registers. */
static int stop_with_vector_in_use(void) {
  static const unsigned char pattern[32] = "0123456789abcdefghijklmnopqrstu";
  unsigned char vector[32] = {0};
  const long pid = getpid();
  long result = SYS_tgkill;
  if (__builtin_cpu_supports("avx")) {
    __asm__ volatile(
        "vmovdqu %2, %%ymm5\n\t"
        "syscall\n\t"
        "vmovdqu %%ymm5, %1\n\t"
        "vzeroupper"
        : "+a"(result), "=m"(vector)
        : "m"(pattern), "D"(pid), "S"(pid), "d"((long)SIGSTOP)
        : "rcx", "r11", "xmm5", "memory");
    return result == 0 && memcmp(vector, pattern, 32) == 0;
  }
  __asm__ volatile(
      "movdqu %2, %%xmm5\n\t"
      "syscall\n\t"
      "movdqu %%xmm5, %1"
      : "+a"(result), "=m"(vector)
      : "m"(pattern), "D"(pid), "S"(pid), "d"((long)SIGSTOP)
      : "rcx", "r11", "xmm5", "memory");
  return result == 0 && memcmp(vector, pattern, 16) == 0;
}

#define CHECK(number, condition) \
  if (!(condition)) _exit(number)

int main(int argc, char** argv) {
  CHECK(98, argc == 3);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
  sigaltstack(&stack, NULL);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  umask(0123);
  prctl(PR_SET_NAME, "a-parent", 0, 0, 0);
  struct rlimit limit = {77, 1000};
  setrlimit(RLIMIT_NPROC, &limit);
  fesetround(FE_UPWARD);

  const int data = open(argv[2], O_RDWR | O_APPEND);
  const int high = fcntl(data, F_DUPFD_CLOEXEC, 90);
  const int out = fcntl(1, F_DUPFD, 80); /* a copy of what is the resumer's */
  char two[3] = "";
  CHECK(97, read(data, two, 2) == 2);
  unsigned char* heap = malloc(pages * page);
  for (int i = 0; i < pages; ++i) memset(heap + i * page, i + 1, page);
  unsigned char* area =
      mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < pages; i += 2) area[i * page] = (unsigned char)(i + 1);
  global = 142;
  local = 143;
  tell_facts(argv[1]);
  struct timespec before;
  clock_gettime(CLOCK_MONOTONIC, &before);

  CHECK(1, stop_with_vector_in_use());
  CHECK(2, global == 142 && local == 143);
  for (int i = 0; i < pages; ++i) {
    CHECK(3, heap[i * page] == (unsigned char)(i + 1));
    CHECK(3, heap[i * page + page - 1] == (unsigned char)(i + 1));
    CHECK(4, area[i * page] == (i % 2 == 0 ? (unsigned char)(i + 1) : 0));
  }
  CHECK(5, fegetround() == FE_UPWARD);
  CHECK(6, raise(SIGUSR1) == 0 && signals_seen == SIGUSR1);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* owned under the C library's thread number */
  CHECK(28, pthread_mutex_lock(&mutex) == 0 && mutex.__data.__owner == (int)syscall(SYS_gettid));
  sigprocmask(SIG_SETMASK, NULL, &blocked);
  CHECK(7, sigismember(&blocked, SIGUSR2) == 1 && sigismember(&blocked, SIGUSR1) == 0);
  CHECK(8, umask(0) == 0123);
  char name[16] = "";
  prctl(PR_GET_NAME, name, 0, 0, 0);
  CHECK(9, strcmp(name, "a-parent") == 0);
  CHECK(10, getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur == 77);
  CHECK(11, read(high, two, 2) == 2 && memcmp(two, "cd", 2) == 0);
  CHECK(12, lseek(data, 0, SEEK_CUR) == 4); /* one description, two numbers */
  CHECK(13, (fcntl(high, F_GETFD) & FD_CLOEXEC) != 0 && fcntl(data, F_GETFD) == 0);
  CHECK(14, (fcntl(data, F_GETFL) & (O_APPEND | O_NONBLOCK | O_ACCMODE)) == (O_APPEND | O_RDWR));
  for (int fd = 3; fd < 256; ++fd) {
    CHECK(15, fd == data || fd == high || fd == out || fcntl(fd, F_GETFD) < 0);
  }
  CHECK(29, syscall(SYS_kcmp, getpid(), getpid(), 0, 1, out) == 0);
  struct timespec now;
  CHECK(16, clock_gettime(CLOCK_MONOTONIC, &now) == 0 && now.tv_sec >= before.tv_sec);
  CHECK(17, deep(100) == 100); /* 6 MiB of stack */
  unsigned char* more =
      mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 8 << 20; i += page) CHECK(18, more[i] == 0);
  void* const end = sbrk(16 * page);
  CHECK(19, end != (void*)-1);
  memset(end, 1, 16 * page);
  CHECK(20, madvise(area, pages * page, MADV_DONTNEED) == 0);
  for (int i = 0; i < pages; ++i) CHECK(21, area[i * page] == 0);
  pthread_t thread;
  void* answer = NULL;
  CHECK(22, pthread_create(&thread, NULL, in_thread, &global) == 0);
  CHECK(23, pthread_join(thread, &answer) == 0 && answer == &global && local == 143);
  CHECK(24, sched_getcpu() >= 0);
  const pid_t child = fork();
  if (child == 0) _exit(heap[5 * page] == 6 ? 5 : 6);
  int status = 0;
  CHECK(25, waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5);
  char cwd[4096];
  CHECK(26, getcwd(cwd, sizeof cwd) != NULL && strncmp(argv[2], cwd, strlen(cwd)) == 0);
  struct itimerval timer;
  CHECK(30, getitimer(ITIMER_REAL, &timer) == 0 && timer.it_value.tv_sec == 0);
  CHECK(31, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
  CHECK(27, printf("restored\n") > 0 && fflush(stdout) == 0);
  return 0;
}
