// SPDX-License-Identifier: MIT
// What the calls of /dev/mitosis-syscalls take, in nanoseconds, for the benchmark of the kernel
// module: the same program against the module and, by `mitosis run`, against the agent.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PREPARE = 4, RESUME_REMOTE = 6 };
enum { PAGE = 4096, MIB = 256, FAULTS = 200, SEQUENCE = 512, APART = 61 };
// Written by who resumes, read by the child that it becomes.
static const char started[] = "/run/times_started";
struct resume_remote_req {
  unsigned int machine_id, handler_id;
};

static unsigned char* memory;

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000l + t.tv_nsec;
}

static void fill(size_t bytes, int value) {
  for (size_t at = 0; at < bytes; at += PAGE)
    memory[at] = (unsigned char)(at / PAGE + (size_t)value);
}

static int compare(const void* a, const void* b) {
  const long left = *(const long*)a, right = *(const long*)b;
  return left < right ? -1 : left > right;
}

// The child's first instructions: single faults far from each other, then a sequence.
static int child(long first) {
  long begun = 0, faults[FAULTS];
  FILE* file = fopen(started, "r");
  if (file == NULL || fscanf(file, "%ld", &begun) != 1) return 1;
  unsigned wrong = 0;
  for (size_t i = 0; i < FAULTS; ++i) {
    const size_t page = SEQUENCE + 64 + i * APART;
    const long before = now();
    wrong += memory[page * PAGE] != (unsigned char)(page + 1);
    faults[i] = now() - before;
  }
  const long before = now();
  for (size_t page = 0; page < SEQUENCE; ++page) {
    wrong += memory[page * PAGE] != (unsigned char)(page + 1);
  }
  const long sequence = now() - before;
  qsort(faults, FAULTS, sizeof faults[0], compare);
  printf("first=%ld fault=%ld sequence=%ld wrong=%u\n", first - begun, faults[FAULTS / 2], sequence,
         wrong);
  fflush(stdout);
  _exit(0);
}

static int parent(int device, unsigned long handler) {
  const size_t bytes = (size_t)(SEQUENCE + 64 + FAULTS * APART) * PAGE;
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || madvise(memory, bytes, MADV_NOHUGEPAGE) != 0) return 1;
  fill(bytes, 1);
  const int result = ioctl(device, PREPARE, handler);
  const long first = now();
  if (result < 0) return 1;
  if (result == 1) return child(first);
  fill(bytes, 9);
  puts("prepared");
  fflush(stdout);
  for (;;) pause();
}

static int resume(int device, unsigned machine, unsigned handler) {
  const struct resume_remote_req request = {machine, handler};
  FILE* file = fopen(started, "w");
  if (file == NULL) return 1;
  fprintf(file, "%ld\n", now());
  fclose(file);
  ioctl(device, RESUME_REMOTE, &request);
  perror("resume");
  return 1;
}

// prepare beside fork, of the same process, all of whose pages were written anew before. The
// handler stays: a reclaim is none of its time.
static int prepare(int device, unsigned handler) {
  memory =
      mmap(NULL, (size_t)MIB << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || madvise(memory, (size_t)MIB << 20, MADV_NOHUGEPAGE) != 0) return 1;
  fill((size_t)MIB << 20, 1);
  long before = now();
  const pid_t pid = fork();
  const long forked = now() - before;
  if (pid == 0) _exit(0);
  if (pid < 0 || waitpid(pid, NULL, 0) != pid) return 1;
  fill((size_t)MIB << 20, 2);
  before = now();
  const int result = ioctl(device, PREPARE, handler);
  const long prepared = now() - before;
  if (result != 0) return 1;
  printf("fork=%ld prepare=%ld\n", forked, prepared);
  return 0;
}

int main(int argc, char** argv) {
  const int device = open("/dev/mitosis-syscalls", O_RDWR);
  if (device < 0 || argc < 3) return 2;
  const unsigned long handler = strtoul(argv[2], NULL, 0);
  if (strcmp(argv[1], "parent") == 0) return parent(device, handler);
  if (strcmp(argv[1], "prepare") == 0) return prepare(device, (unsigned)handler);
  if (strcmp(argv[1], "resume") == 0 && argc > 3) {  // MACHINE HANDLER
    return resume(device, (unsigned)handler, (unsigned)strtoul(argv[3], NULL, 0));
  }
  return 2;
}
