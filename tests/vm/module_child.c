// SPDX-License-Identifier: MIT
// See module_child.h.
#define _GNU_SOURCE
#include "module_child.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GENERATIONS = 100, SIGNALLED_FORKS = 100 };
enum { HEAP_BYTES = 200 * PAGE, BYTES = 1000 * PAGE, SHARED_BYTES = 16 * PAGE };

static unsigned char global_bytes[64 * PAGE];
static _Thread_local unsigned char thread_bytes[8 * PAGE];
static unsigned char never_written[SHARED_BYTES + PAGE] __attribute__((aligned(PAGE)));
static unsigned char* heap_bytes;
static unsigned char* mapped_bytes;
static unsigned char* shared_bytes;
static const unsigned char* file_bytes;  // which may only be read

void say(const char* text) {
  printf("%s\n", text);
  fflush(stdout);
}

int fail(const char* what) {
  printf("WRONG: %s\n", what);
  fflush(stdout);
  return 1;
}

// Every page another, so that a page in the wrong place is seen.
static unsigned char byte_of(size_t at, unsigned seed) {
  return (unsigned char)(at / PAGE * 7 + at % 251 + seed);
}
static void fill(unsigned char* memory, size_t bytes, unsigned seed) {
  for (size_t i = 0; i < bytes; ++i) memory[i] = byte_of(i, seed);
}
static int differs(const unsigned char* memory, size_t bytes, unsigned seed) {
  for (size_t i = 0; i < bytes; ++i) {
    if (memory[i] != byte_of(i, seed)) return 1;
  }
  return 0;
}

void fill_all(unsigned char* on_stack, size_t stack_bytes, unsigned seed) {
  fill(on_stack, stack_bytes, seed);
  fill(global_bytes, sizeof global_bytes, seed + 1);
  fill(thread_bytes, sizeof thread_bytes, seed + 2);
  fill(heap_bytes, HEAP_BYTES, seed + 3);
  fill(mapped_bytes, BYTES, seed + 4);
  fill(shared_bytes, SHARED_BYTES, seed + 5);
}
int make_memory(int sharing) {
  const int own = MAP_PRIVATE | MAP_ANONYMOUS, both = PROT_READ | PROT_WRITE;
  heap_bytes = malloc(HEAP_BYTES);
  mapped_bytes = mmap(NULL, BYTES, both, own, -1, 0);
  shared_bytes = mmap(NULL, SHARED_BYTES, both, sharing | MAP_ANONYMOUS, -1, 0);
  return heap_bytes != NULL && mapped_bytes != MAP_FAILED && shared_bytes != MAP_FAILED ? 0 : -1;
}

int map_file(unsigned seed) {
  char name[] = "/dev/shm/module_programXXXXXX";
  unsigned char page[PAGE];
  const int file = mkstemp(name), reader = open(name, O_RDONLY);
  unlink(name);
  fill(page, sizeof page, seed);
  if (write(file, page, sizeof page) != sizeof page) return -1;
  file_bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
  close(reader);
  return file_bytes == MAP_FAILED ? -1 : file;
}

int check_file(unsigned seed) {
  return differs(file_bytes, PAGE, seed) ? fail("a file that may only be read") : 0;
}
int check_all(const unsigned char* on_stack, size_t stack_bytes, unsigned seed) {
  if (differs(on_stack, stack_bytes, seed)) return fail("the stack");
  if (differs(global_bytes, sizeof global_bytes, seed + 1)) return fail("globals");
  if (differs(thread_bytes, sizeof thread_bytes, seed + 2)) return fail("thread-local memory");
  if (differs(heap_bytes, HEAP_BYTES, seed + 3)) return fail("the heap");
  if (differs(mapped_bytes, BYTES, seed + 4)) return fail("mmap");
  if (differs(shared_bytes, SHARED_BYTES, seed + 5)) return fail("shared memory");
  return 0;
}

static void* thread_main(void* argument) {
  return differs(mapped_bytes, BYTES, 14) ? NULL : argument;
}

int live_on(void) {
  pthread_t thread;
  void* result = NULL;
  if (pthread_create(&thread, NULL, thread_main, mapped_bytes) != 0 ||
      pthread_join(thread, &result) != 0 || result != mapped_bytes) {
    return fail("a thread");
  }
  if (system("exit 7") != 7 << 8) return fail("system");
  static const size_t sizes[] = {64 * PAGE, 8 << 20};  // by brk, by mmap
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    unsigned char* volatile grown = malloc(sizes[i]);
    if (grown == NULL) return fail("malloc");
    fill(grown, sizes[i], 70);
    if (differs(grown, sizes[i], 70)) return fail("what malloc gave");
    free(grown);
  }
  return 0;
}

int fork_and_move(void) {
  enum { AT = 500 * PAGE, SOFT_OFFLINE = 101 };  // <asm-generic/mman-common.h>
  volatile unsigned char* const mapped = mapped_bytes;
  int ends[2], status = -1;
  char told = 0;
  if (pipe(ends) != 0) return fail("pipe");
  mapped[0] = mapped[0];  // from now on the kernel looks for its pages in forks as well
  const pid_t pid = fork();
  if (pid == 0) {
    if (read(ends[0], &told, 1) != 1) _exit(fail("read"));
    for (size_t i = AT; i < AT + PAGE; ++i) {
      if (mapped[i] != byte_of(i, 14)) _exit(fail("a fork's page, of which another was moved"));
    }
    _exit(0);
  }
  // Its mapping begins behind the fork's now, so the kernel comes to the fork's first.
  if (mprotect(mapped_bytes, PAGE, PROT_READ) != 0) return fail("mprotect");
  mapped[AT] = mapped[AT];
  if (madvise(mapped_bytes + AT, PAGE, SOFT_OFFLINE) != 0) return fail("MADV_SOFT_OFFLINE");
  if (mprotect(mapped_bytes, PAGE, PROT_READ | PROT_WRITE) != 0) return fail("mprotect back");
  if (pid < 0 || write(ends[1], &told, 1) != 1) return fail("fork");
  close(ends[0]);
  close(ends[1]);
  return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : fail("the fork's status");
}

int fork_and_check(void) {
  const pid_t pid = fork();
  if (pid < 0) return fail("fork");
  if (pid == 0) {
    if (differs(mapped_bytes, BYTES, 14)) _exit(fail("mmap in a fork of the child"));
    if (madvise(mapped_bytes, PAGE, MADV_DONTNEED) != 0 || mapped_bytes[0] != 0) {
      _exit(fail("MADV_DONTNEED in a fork of the child"));
    }
    _exit(differs(heap_bytes, HEAP_BYTES, 13) ? fail("the heap in a fork of the child") : 0);
  }
  memset(mapped_bytes, 0xee, BYTES);  // never seen there
  int status = -1;
  if (waitpid(pid, &status, 0) != pid) return fail("waitpid");
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) return fail("SIGBUS in a fork");
  if (status != 0) return fail("the fork's status");
  return differs(heap_bytes, HEAP_BYTES, 13) ? fail("the heap after a fork") : 0;
}

// Two pages a level.
static unsigned grow_stack(unsigned levels) {
  volatile unsigned char here[2 * PAGE];
  here[0] = here[PAGE] = (unsigned char)levels;
  return levels == 0 ? 0 : grow_stack(levels - 1) + (here[0] == here[PAGE]);
}

int many_generations(void) {
  int ends[2];
  char told = 0;
  if (pipe(ends) != 0) return fail("pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < GENERATIONS; ++i) {
      if (fork() != 0) _exit(0);
    }
    told = differs(mapped_bytes, BYTES, 14) ? 'n' : 'y';
    _exit(write(ends[1], &told, 1) != 1);
  }
  close(ends[1]);
  if (pid < 0 || read(ends[0], &told, 1) != 1 || told != 'y') return fail("the last generation");
  return waitpid(pid, NULL, 0) == pid ? 0 : fail("the first generation");
}

static unsigned touch(const volatile unsigned char* memory, size_t bytes) {
  unsigned sum = 0;
  for (size_t at = 0; at < bytes; at += PAGE) sum += memory[at];
  return sum;
}
static void wait_for(const char* path) {
  while (access(path, F_OK) != 0) usleep(20000);
}

int touch_in_order(void) {
  // Whatever code and stack all this takes is there when it is done for the second time.
  unsigned sum = touch(heap_bytes, PAGE) + touch(never_written, 1);
  say("child waits");
  wait_for("/run/first");
  sum += touch(shared_bytes, SHARED_BYTES);
  sum += touch(never_written + PAGE, SHARED_BYTES);
  say("child has touched");
  wait_for("/run/second");
  return sum == 0 ? fail("all bytes are zero") : 0;
}

// Reads all pages, and tells once it has the first one.
static void read_all(int told) {
  for (size_t at = 0; at < BYTES; at += PAGE) {
    if (mapped_bytes[at] != byte_of(at, 14)) _exit(fail("a reader's memory"));
    if (at == 0 && write(told, "b", 1) != 1) _exit(1);
  }
  for (;;) pause();
}

int kill_readers(void) {
  enum { ROUNDS = 4, READERS = 3 };
  for (int round = 0; round < ROUNDS; ++round) {
    int ends[2];
    char told[READERS];
    pid_t readers[READERS];
    if (pipe(ends) != 0) return fail("pipe");
    for (int i = 0; i < READERS; ++i) {
      readers[i] = fork();
      if (readers[i] < 0) return fail("fork");
      if (readers[i] == 0) read_all(ends[1]);
    }
    close(ends[1]);
    for (int i = 0; i < READERS; ++i) {
      if (read(ends[0], &told[i], 1) != 1) return fail("a reader has not begun");
    }
    for (int i = 0; i < READERS; ++i) {
      int status = 0;
      kill(readers[i], SIGKILL);
      if (waitpid(readers[i], &status, 0) != readers[i] || !WIFSIGNALED(status) ||
          WTERMSIG(status) != SIGKILL) {
        return fail("a reader had ended");
      }
    }
    close(ends[0]);
  }
  return 0;
}

static void pass(int number) {
  (void)number;
}

int fork_among_signals(void) {
  const struct itimerval never = {{0, 0}, {0, 0}};
  struct sigaction action = {.sa_flags = SA_RESTART};
  action.sa_handler = pass;
  if (sigaction(SIGALRM, &action, NULL) != 0) return fail("sigaction");
  for (int i = 0; i < SIGNALLED_FORKS; ++i) {
    int status = -1;
    const struct itimerval soon = {{0, 0}, {0, 50 + 50 * i}};
    if (setitimer(ITIMER_REAL, &soon, NULL) != 0) return fail("setitimer");
    const pid_t pid = fork();
    setitimer(ITIMER_REAL, &never, NULL);
    if (pid == 0) {
      const int at = i * 9 * PAGE;  // of a page that the parent has not
      _exit(mapped_bytes[at] != byte_of((size_t)at, 14));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) return fail("a fork's memory");
  }
  return 0;
}

int change_memory(int device) {
  volatile unsigned char* mapped = mapped_bytes;
  (void)mapped[100 * PAGE];
  mapped[200 * PAGE] = 1;
  for (int page = 100; page < 900; page += 100) {
    if (madvise(mapped_bytes + page * PAGE, 10 * PAGE, MADV_DONTNEED) != 0) return fail("madvise");
    for (int i = 0; i < 10 * PAGE; ++i) {
      if (mapped_bytes[page * PAGE + i] != 0) return fail("not zero after MADV_DONTNEED");
    }
  }
  void* there = mmap(NULL, 20 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char* moved =
      mremap(mapped_bytes + 910 * PAGE, 20 * PAGE, 20 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
  if (moved == MAP_FAILED) return fail("mremap");
  for (size_t i = 0; i < 20 * PAGE; ++i) {
    if (moved[i] != byte_of(910 * PAGE + i, 14)) return fail("moved memory");
  }
  // What is not as in any process is refused. Under an agent there is no device, and both are.
  if (ioctl(device, NIL, 0) == 0) {
    if (mremap(moved, 20 * PAGE, 21 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED) return fail("growth");
    if (madvise(moved, PAGE, MADV_FREE) == 0 || errno != EINVAL) return fail("MADV_FREE");
  }
  if (grow_stack(200) != 200) return fail("the stack's growth");
  if (mprotect(mapped_bytes + 950 * PAGE, PAGE, PROT_NONE) != 0 ||
      mprotect(mapped_bytes + 950 * PAGE, PAGE, PROT_READ | PROT_WRITE) != 0) {
    return fail("mprotect");
  }
  // So that what is read ahead of the first fault goes on behind what has become a mapping's end.
  for (size_t i = 944 * PAGE; i < 960 * PAGE; ++i) {
    if (mapped_bytes[i] != byte_of(i, 14)) return fail("memory after mprotect");
  }
  return munmap(mapped_bytes + 990 * PAGE, 5 * PAGE) == 0 ? 0 : fail("munmap");
}

static unsigned char* moved_bytes;

int touch_a_little(void) {
  memset(mapped_bytes + 100 * PAGE, 0xee, 10 * PAGE);
  if (madvise(mapped_bytes + 200 * PAGE, 10 * PAGE, MADV_DONTNEED) != 0) return fail("madvise");
  moved_bytes = mmap(NULL, 10 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (moved_bytes == MAP_FAILED ||
      mremap(mapped_bytes + 300 * PAGE, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
             moved_bytes) != moved_bytes)
    return fail("mremap");
  return 0;
}

int find_touched(void) {
  for (int i = 0; i < 10 * PAGE; ++i) {
    if (mapped_bytes[100 * PAGE + i] != 0xee) return fail("what the child has written");
    if (mapped_bytes[200 * PAGE + i] != 0) return fail("what the child has thrown away");
    if (moved_bytes[i] != byte_of((size_t)(300 * PAGE + i), 14)) return fail("what was moved");
  }
  if (mremap(moved_bytes, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
             mapped_bytes + 300 * PAGE) == MAP_FAILED)
    return fail("mremap back");
  for (size_t i = 100 * PAGE; i < 210 * PAGE; ++i) {
    if (i < 110 * PAGE || i >= 200 * PAGE) mapped_bytes[i] = byte_of(i, 14);
  }
  return 0;
}
