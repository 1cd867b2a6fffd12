// SPDX-License-Identifier: MIT
// A program of /dev/mitosis-syscalls for module_test.py: it knows the device and its numbers alone.
// As a parent it fills every kind of memory, prepares, overwrites it all, and stays; a child checks
// that it has what was there at prepare, and then does what the parent was told.
#define _GNU_SOURCE
#include <mitosis/fork/kernel/device.h>

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

enum { NIL = 0, PREPARE = 4, RESUME_LOCAL = 5, RESUME_REMOTE = 6, PREPARE_PING = 7 };
struct resume_remote_req {
  unsigned int machine_id, handler_id;
};
enum { GENERATIONS = 100, SIGNALLED_FORKS = 100 };
enum { PAGE = 4096, HEAP_BYTES = 200 * PAGE, BYTES = 1000 * PAGE };

static unsigned char global_bytes[64 * PAGE];
static _Thread_local unsigned char thread_bytes[8 * PAGE];
static unsigned char* heap_bytes;
static unsigned char* mapped_bytes;
static unsigned char* shared_bytes;
static const unsigned char* file_bytes;  // which may only be read

static volatile int argument_count;

static void say(const char* text) {
  printf("%s\n", text);
  fflush(stdout);
}

static int fail(const char* what) {
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

static void fill_all(unsigned char* on_stack, size_t stack_bytes, unsigned seed) {
  fill(on_stack, stack_bytes, seed);
  fill(global_bytes, sizeof global_bytes, seed + 1);
  fill(thread_bytes, sizeof thread_bytes, seed + 2);
  fill(heap_bytes, HEAP_BYTES, seed + 3);
  fill(mapped_bytes, BYTES, seed + 4);
  fill(shared_bytes, 16 * PAGE, seed + 5);
}
// One page of a file that has no name any more; its descriptor, or -1.
static int map_file(unsigned seed) {
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

static int check_all(const unsigned char* on_stack, size_t stack_bytes, unsigned seed) {
  if (differs(on_stack, stack_bytes, seed)) return fail("the stack");
  if (differs(global_bytes, sizeof global_bytes, seed + 1)) return fail("globals");
  if (differs(thread_bytes, sizeof thread_bytes, seed + 2)) return fail("thread-local memory");
  if (differs(heap_bytes, HEAP_BYTES, seed + 3)) return fail("the heap");
  if (differs(mapped_bytes, BYTES, seed + 4)) return fail("mmap");
  if (differs(shared_bytes, 16 * PAGE, seed + 5)) return fail("shared memory");
  return 0;
}

static void* waits(void* argument) {
  for (;;) pause();
  return argument;
}

static void* thread_main(void* argument) {
  return differs(mapped_bytes, BYTES, 14) ? NULL : argument;
}

// What a process does after a fork, all of which the C library and the kernel must bear.
static int live_on(void) {
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

// The resumed process forks before it has touched most of its memory.
static int fork_and_check(void) {
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

// Each generation ends once it has forked the next; the last one still gets the first's memory.
static int many_generations(void) {
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

static void pass(int number) {
  (void)number;
}

// A signal comes at many moments of a fork.
static int fork_among_signals(void) {
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

// Anonymous memory's semantics, of pages that were fetched and of others.
static int change_memory(int device) {
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

// Of its parent's memory a child writes to a little, throws a little away and moves a little.
static int touch_a_little(void) {
  memset(mapped_bytes + 100 * PAGE, 0xee, 10 * PAGE);
  if (madvise(mapped_bytes + 200 * PAGE, 10 * PAGE, MADV_DONTNEED) != 0) return fail("madvise");
  moved_bytes = mmap(NULL, 10 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (moved_bytes == MAP_FAILED ||
      mremap(mapped_bytes + 300 * PAGE, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
             moved_bytes) != moved_bytes)
    return fail("mremap");
  return 0;
}
// A child of that child finds it so, and makes it what it was.
static int find_touched(void) {
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

static char key_text[2 * MITOSIS_KEY_BYTES + 2];

// Through the original's call, or, where `number` is MITOSIS_PREPARE_KEYED, for a key, which a
// parent finds in key_text.
static int prepare(int device, unsigned number, unsigned long handler) {
  struct mitosis_prepare request = {.handler = handler};
  if (number != MITOSIS_PREPARE_KEYED) return ioctl(device, number, handler);
  const int result = ioctl(device, number, &request);
  if (result == 1) {  // a child: it has no key
    for (int i = 0; i < MITOSIS_KEY_BYTES; ++i) {
      if (request.key[i] != 0) return -1;
    }
  }
  if (result != 0) return result;
  key_text[0] = ' ';
  for (int i = 0; i < MITOSIS_KEY_BYTES; ++i) sprintf(key_text + 1 + 2 * i, "%02x", request.key[i]);
  return 0;
}

static int parent(int device, unsigned number, unsigned long handler, const char* what, int stays) {
  unsigned char on_stack[32 * PAGE];
  const double real = 1.0 / 3.0 * (double)getpid();
  heap_bytes = malloc(HEAP_BYTES);
  mapped_bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  shared_bytes = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (heap_bytes == NULL || mapped_bytes == MAP_FAILED || shared_bytes == MAP_FAILED) return 1;
  fill_all(on_stack, sizeof on_stack, 10);
  const int file = map_file(16);
  if (file < 0) return 1;
  const volatile double kept = real * 3.0;
  pthread_t thread;
  if (strcmp(what, "threads") == 0) pthread_create(&thread, NULL, waits, NULL);

  const int result = prepare(device, number, handler);
  if (result < 0) {
    printf("prepare: %s\n", strerror(errno));
    return 1;
  }
  if (result == 0) {
    fill_all(on_stack, sizeof on_stack, 90);
    if (pwrite(file, on_stack, PAGE, 0) != PAGE) return 1;
    printf("prepared %d%s\n", (int)getpid(), key_text);
    fflush(stdout);
    if (!stays) return 0;
    for (;;) pause();
  }
  if (strcmp(what, "generations") == 0 && many_generations() != 0) return 1;
  if (strcmp(what, "wait") == 0 || strcmp(what, "generations") == 0 ||
      strcmp(what, "waits elsewhere") == 0) {  // with most of its memory still at the parent
    say("child waits");
    while (access("/run/go", F_OK) != 0) usleep(20000);
  }
  const int little = strcmp(what, "little") == 0;
  const int hops = little || strcmp(what, "again") == 0 ? 1 : strcmp(what, "twice") == 0 ? 2 : 0;
  if (little && touch_a_little() != 0) return 1;
  for (int hop = 1; hop <= hops; ++hop) {  // prepares itself again
    const int again = prepare(device, number, handler + (unsigned)hop);
    if (again < 0) return fail("another prepare");
    if (again == 0) {
      if (!little) fill_all(on_stack, sizeof on_stack, 120);
      printf("prepared %d%s\n", (int)getpid(), key_text);
      fflush(stdout);
      for (;;) pause();
    }
  }
  int wrong = kept != real * 3.0 ? fail("floating point") : 0;
  if (little) wrong |= find_touched();
  if (differs(file_bytes, PAGE, 16)) wrong |= fail("a file that may only be read");
  if (strcmp(what, "fork") == 0) wrong |= fork_and_check();
  if (strcmp(what, "signals") == 0) wrong |= fork_among_signals();
  if (strcmp(what, "change") == 0) wrong |= change_memory(device);
  const int elsewhere = strstr(what, "elsewhere") != NULL;  // where there is no module
  if (elsewhere || strcmp(what, "memory") == 0 || strcmp(what, "wait") == 0 || hops != 0) {
    wrong |= check_all(on_stack, sizeof on_stack, 10) || live_on();
    fill_all(on_stack, sizeof on_stack, 50);
    wrong |= check_all(on_stack, sizeof on_stack, 50);
    if (!elsewhere && ioctl(device, NIL, 0) != 0) wrong |= fail("the device");
  }
  if (!wrong) say("child fine");
  return wrong;
}

// A program that knows nothing of the device, for agents to prepare by its pid: a child finds
// /run/go on its machine.
static int plain(const char* what) {
  unsigned char on_stack[32 * PAGE];
  const volatile double third = 1.0 / 3.0 * (double)argument_count;
  heap_bytes = malloc(BYTES);
  mapped_bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  shared_bytes = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (heap_bytes == NULL || mapped_bytes == MAP_FAILED || shared_bytes == MAP_FAILED) return 1;
  if (strcmp(what, "shared") == 0) {
    mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }
  if (strcmp(what, "file") == 0 && open("/dev/null", O_RDONLY) < 0) return 1;
  fill_all(on_stack, sizeof on_stack, 10);
  printf("plain %d\n", (int)getpid());
  fflush(stdout);
  while (access("/run/go", F_OK) != 0) usleep(20000);
  int wrong = third != 1.0 / 3.0 * (double)argument_count ? fail("floating point") : 0;
  wrong |= check_all(on_stack, sizeof on_stack, 10) || live_on();
  fill_all(on_stack, sizeof on_stack, 50);
  wrong |= check_all(on_stack, sizeof on_stack, 50);
  if (!wrong) say("child fine");
  return wrong;
}

static int many(int device, unsigned long handler, long count) {
  for (; count > 0; --count) {
    const pid_t pid = fork();
    if (pid == 0) _exit(ioctl(device, RESUME_LOCAL, handler) == 0 ? 0 : 1);  // where it returns
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) return fail("one of many");
  }
  return 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  argument_count = argc;
  if (strcmp(what, "plain") == 0 && argc > 2) return plain(argv[2]);  // HOW
  const int device = open("/dev/mitosis-syscalls", O_RDWR);
  if (device < 0) {
    perror("/dev/mitosis-syscalls");
    return 1;
  }
  if (strcmp(what, "hold") == 0) {
    printf("held %d\n", (int)getpid());
    fflush(stdout);
    for (;;) pause();
  }
  // HANDLER WHAT: what a child does. Where the handler outlives its process, that may leave it.
  if (strcmp(what, "parent") == 0 && argc > 3) {
    return parent(device, PREPARE, strtoul(argv[2], NULL, 0), argv[3], 1);
  }
  const int leaves = strcmp(what, "leaves") == 0;
  if ((leaves || strcmp(what, "pinned") == 0) && argc > 3) {
    return parent(device, PREPARE_PING, strtoul(argv[2], NULL, 0), argv[3], !leaves);
  }
  if (strcmp(what, "keyed") == 0 && argc > 3) {
    return parent(device, MITOSIS_PREPARE_KEYED, strtoul(argv[2], NULL, 0), argv[3], 1);
  }
  // HANDLER: does not return where it succeeds
  const int threaded = strcmp(what, "threaded") == 0;
  if ((threaded || strcmp(what, "child") == 0) && argc > 2) {
    pthread_t thread;
    if (threaded) pthread_create(&thread, NULL, waits, NULL);
    ioctl(device, RESUME_LOCAL, strtoul(argv[2], NULL, 0));
    printf("resume: %s\n", strerror(errno));
    return 1;
  }
  if (strcmp(what, "many") == 0 && argc > 3) {  // HANDLER COUNT: children, one after the other
    return many(device, strtoul(argv[2], NULL, 0), strtol(argv[3], NULL, 0));
  }
  if (strcmp(what, "remote") == 0 && argc > 3) {  // MACHINE HANDLER: as child
    const struct resume_remote_req request = {(unsigned)strtoul(argv[2], NULL, 0),
                                              (unsigned)strtoul(argv[3], NULL, 0)};
    ioctl(device, RESUME_REMOTE, &request);
    printf("resume: %s\n", strerror(errno));
    return 1;
  }
  fprintf(stderr,
          "usage: module_program hold | parent HANDLER WHAT | pinned HANDLER WHAT | "
          "leaves HANDLER WHAT | keyed HANDLER WHAT | child HANDLER | threaded HANDLER | "
          "many HANDLER COUNT | remote MACHINE HANDLER | plain HOW\n");
  return 2;
}
