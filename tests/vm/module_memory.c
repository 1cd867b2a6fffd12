// SPDX-License-Identifier: MIT
// A parent for module_fork.py with one special kind of memory, HANDLER KIND: it prepares, writes
// over all of it, and stays; its child has what was there at prepare.
#define _GNU_SOURCE
#include <linux/io_uring.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PREPARE_PING = 7, PAGE = 4096, HUGE = 2 << 20 };

static unsigned char* memory;
static size_t bytes, step;  // each step's first page is written, the others never

static void fill(unsigned seed) {
  for (size_t at = 0; at < bytes; at += step) memset(memory + at, (int)(at / step + seed), PAGE);
}

// Pages in between are zero.
static int differs(unsigned seed) {
  for (size_t at = 0; at < bytes; at += PAGE) {
    const unsigned char want = at % step == 0 ? (unsigned char)(at / step + seed) : 0;
    if (memory[at] != want || memory[at + PAGE - 1] != want) return 1;
  }
  return 0;
}

static int map(size_t size, size_t every) {
  bytes = size;
  step = every;
  memory = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -1;
  memory += HUGE - (size_t)memory % HUGE;
  return 0;
}

// KiB of all its memory that are so: "AnonHugePages", "Swap".
static long kib_of(const char* what) {
  char line[256], name[64];
  long kib = 0, value;
  FILE* file = fopen("/proc/self/smaps_rollup", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%63[^:]: %ld", name, &value) == 2 && strcmp(name, what) == 0) kib = value;
  }
  if (file != NULL) fclose(file);
  return kib;
}

// A device may write to it: io_uring pins what is registered.
static int pin(void) {
  struct io_uring_params parameters = {0};
  const struct iovec all = {memory, bytes};
  const int ring = (int)syscall(SYS_io_uring_setup, 4, &parameters);
  if (ring < 0) return -1;
  return (int)syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &all, 1);
}

static int make(const char* kind) {
  if (strcmp(kind, "holes") == 0) return map((size_t)6000 * PAGE, 2 * PAGE);  // 3000 runs
  if (strcmp(kind, "huge") == 0) {
    return map(4 * HUGE, PAGE) || madvise(memory, bytes, MADV_HUGEPAGE);
  }
  return map(64 * PAGE, PAGE);
}

// What only its kind has, once it is filled.
static int dress(const char* kind) {
  if (strcmp(kind, "pinned") == 0) return pin();
  if (strcmp(kind, "swapped") == 0) {
    return madvise(memory, bytes, MADV_PAGEOUT) != 0 || kib_of("Swap") == 0;
  }
  return strcmp(kind, "huge") == 0 && kib_of("AnonHugePages") < (long)(bytes >> 10);
}

int main(int argc, char** argv) {
  const int device = open("/dev/mitosis-syscalls", O_RDWR);
  if (device < 0 || argc < 3) return 2;
  const char* kind = argv[2];
  if (make(kind) != 0) return 1;
  fill(1);
  if (dress(kind) != 0) {
    perror(kind);
    return 1;
  }
  const int result = ioctl(device, PREPARE_PING, strtoul(argv[1], NULL, 0));
  if (result < 0) {
    printf("prepare: %s\n", strerror(errno));
    return 1;
  }
  if (result == 1) {
    const int wrong = differs(1);
    puts(wrong ? "WRONG: its memory" : "child fine");
    return wrong;
  }
  // Huge pages stay some, until they are written.
  if (strcmp(kind, "huge") == 0 && kib_of("AnonHugePages") < (long)(bytes >> 10)) return 1;
  fill(9);
  if (differs(9)) return 1;
  printf("prepared %d\n", (int)getpid());
  fflush(stdout);
  for (;;) pause();
}
