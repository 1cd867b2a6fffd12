// SPDX-License-Identifier: MIT
// A program of /dev/mitosis-syscalls for module_test.py: it knows the device and its numbers alone.
// As a parent it fills every kind of memory, prepares, overwrites it all, and stays; a child checks
// that it has what was there at prepare, and then does what the parent was told (module_child.h).
#define _GNU_SOURCE
#include <mitosis/fork/kernel/device.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module_child.h"

enum { PREPARE = 4, RESUME_LOCAL = 5, RESUME_REMOTE = 6, PREPARE_PING = 7 };
struct resume_remote_req {
  unsigned int machine_id, handler_id;
};

static volatile int argument_count;

static void* waits(void* argument) {
  for (;;) pause();
  return argument;
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
  unsigned char on_stack[STACK_BYTES];
  const double real = 1.0 / 3.0 * (double)getpid();
  if (make_memory(MAP_SHARED) != 0) return 1;
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
  wrong |= check_file(16);
  if (strcmp(what, "fork") == 0) {
    if (ioctl(device, NIL, 0) == 0) wrong |= fork_and_move();
    wrong |= fork_and_check();
  }
  if (strcmp(what, "order") == 0) wrong |= touch_in_order();
  if (strcmp(what, "readers") == 0) wrong |= kill_readers();
  if (strcmp(what, "signals") == 0) wrong |= fork_among_signals();
  if (strcmp(what, "change") == 0) wrong |= change_memory(device);
  const int elsewhere = strstr(what, "elsewhere") != NULL;  // where there is no module
  if (elsewhere || strcmp(what, "memory") == 0 || strcmp(what, "wait") == 0 || hops != 0 ||
      strcmp(what, "readers") == 0) {
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
  unsigned char on_stack[STACK_BYTES];
  const volatile double third = 1.0 / 3.0 * (double)argument_count;
  if (make_memory(MAP_PRIVATE) != 0) return 1;
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
