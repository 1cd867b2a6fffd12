/* SPDX-License-Identifier: MIT */
/* See stress.h. What changes the address space is in remap.c, what passes bytes through the kernel
 * in kernel_io.c. */
#include "stress.h"

#include <alloca.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "model.h"
#include "operations.h"
#include "talk.h"

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct area* area_any(uint64_t* random) {
  struct area* area;
  do {
    area = &areas[random_next(random) % max_areas];
  } while (area->at == NULL || area->pages == 0);
  return area;
}

static void one_page(uint64_t* random) {
  struct area* area = area_any(random);
  const size_t page = random_next(random) % area->pages;
  page_check(area, page);
  if (random_next(random) % 3 == 0) {
    page_write(area, page);
    page_check(area, page);
  }
}

/* A write that needs the rest of the page to come from elsewhere. */
static void one_word(uint64_t* random) {
  struct area* area = area_any(random);
  const size_t page = random_next(random) % area->pages, word = random_next(random) % 512;
  const struct page_record record = record_of(area, page);
  uint64_t* words = (uint64_t*)(area->at + page * page_size);
  uint64_t expected[512];
  page_bytes(expected, record.id, record.version);
  ((volatile uint64_t*)words)[word] = ~expected[word];
  expected[word] = ~expected[word];
  if (memcmp(words, expected, page_size) != 0) wrong("around a written word of %p", (void*)words);
  page_write(area, page);
}

static void a_run(uint64_t* random) {
  const struct area* area = area_any(random);
  const size_t first = random_next(random) % area->pages;
  for (size_t page = first; page < area->pages && page < first + 48; ++page) {
    page_check(area, page);
  }
}

/* Frames larger than what the stack had so far, filled and looked at on the way back. */
static void grow_stack(uint64_t seed, int depth) {
  uint64_t* frame = alloca(24 * 1024);
  uint64_t state = seed + (uint64_t)depth;
  for (size_t i = 0; i < 3072; i += 16) frame[i] = random_next(&state);
  __asm__ volatile("" : : "r"(frame) : "memory");
  if (depth > 0) grow_stack(seed, depth - 1);
  state = seed + (uint64_t)depth;
  for (size_t i = 0; i < 3072; i += 16) {
    if (frame[i] != random_next(&state)) wrong("stack at depth %d", depth);
  }
}

static void grow_heap(uint64_t* random) {
  const size_t size = 1000 + random_next(random) % 300000;
  const uint64_t seed = random_next(random);
  unsigned char* block = calloc(1, size);
  if (block == NULL) return;
  for (size_t i = 0; i < size; ++i) {
    if (block[i] != 0) wrong("calloc's byte %zu of %zu", i, size);
  }
  memset(block, (int)(seed & 0xff), size);
  unsigned char* larger = realloc(block, size * 2);
  if (larger != NULL) block = larger;
  for (size_t i = 0; i < size; ++i) {
    if (block[i] != (unsigned char)seed) wrong("heap block's byte %zu of %zu", i, size);
  }
  free(block);
}

static void bury_one(void) {
  int status = 0;
  while (waitpid(-1, &status, 0) < 0) {
    if (errno != EINTR) wrong("waitpid of a forked process: %s", strerror(errno));
  }
  if (status != 0) wrong("a forked process ended with status %#x", (unsigned)status);
}

void fork_both(uint64_t seed, int count) {
  const pid_t pid = fork();
  if (pid < 0) return;
  uint64_t random = seed + (pid == 0 ? 1 : 2);
  for (int i = 0; i < count; ++i) one_page(&random);
  if (pid == 0) {
    probes_check();
    _exit(0);
  }
  bury_one();
}

uint64_t fork_many(uint64_t seed, int milliseconds) {
  enum { at_once = 6 };
  const uint64_t end = now_ms() + (uint64_t)milliseconds;
  uint64_t count = 0, alive = 0;
  while (now_ms() < end) {
    const pid_t pid = fork();
    if (pid == 0) {
      uint64_t random = seed + count;
      for (int i = 0; i < 30; ++i) {
        one_page(&random);
        usleep(1000);
      }
      _exit(0);
    }
    if (pid > 0) ++count, ++alive;
    if (alive == at_once) bury_one(), --alive;
  }
  while (alive-- > 0) bury_one();
  return count;
}

static void fork_some(uint64_t* random) {
  fork_both(random_next(random), 40);
}
static void grow_stack_some(uint64_t* random) {
  const uint64_t seed = random_next(random);
  grow_stack(seed, (int)(seed % 60));
}
static void probe(uint64_t* random) {
  (void)random;
  probes_check();
}

/* How often of `all_chances`, and what. */
static const struct {
  unsigned chances;
  void (*run)(uint64_t* random);
} operations[] = {
    {22, one_page},     {8, one_word},       {6, a_run},     {2, grow_or_shrink},  {2, move},
    {3, move_and_back}, {4, drop},           {2, anew},      {3, protect},         {2, lock},
    {1, probe},         {6, through_kernel}, {1, grow_heap}, {1, grow_stack_some}, {1, fork_some},
    {1, threads_both},  {1, spawn_other},
};
enum { all_chances = 66 };

static void one_operation(uint64_t* random) {
  unsigned left = (unsigned)(random_next(random) % all_chances);
  size_t i = 0;
  while (left >= operations[i].chances) left -= operations[i++].chances;
  operations[i].run(random);
}

uint64_t stress(uint64_t seed, int ms) {
  const uint64_t end = now_ms() + (uint64_t)ms;
  uint64_t count = 0;
  while (now_ms() < end) {
    for (int i = 0; i < 16; ++i) one_operation(&seed);
    count += 16;
  }
  return count;
}
