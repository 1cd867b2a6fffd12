/* SPDX-License-Identifier: MIT */
/* States: memory that mlock(2) and madvise(2) have marked, as /proc/self/smaps tells it. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state.h"

enum { page = 4096, pages = 40 };

/* Whether the mapping that holds `at` has the word in its VmFlags. */
static int is_marked(const char* at, const char* word) {
  FILE* const smaps = fopen("/proc/self/smaps", "re");
  must(smaps != NULL, "smaps");
  char line[1024], wanted[8];
  snprintf(wanted, sizeof wanted, " %s ", word);
  int here = 0, found = -1;
  while (found < 0 && fgets(line, sizeof line, smaps) != NULL) {
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
      here = start <= (unsigned long)at && (unsigned long)at < end;
    } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
      found = strstr(line, wanted) != NULL;
    }
  }
  fclose(smaps);
  return found;
}

/* Of `pages` pages, all written; those from the 10th to the 20th are to be marked. */
static char* memory_of(char fill) {
  char* const memory =
      mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(memory != MAP_FAILED, "mmap");
  memset(memory, fill, pages * page);
  return memory;
}
static void expect_marked(const char* memory, const char* word) {
  for (int i = 0; i < pages; i += 5) {
    const int marked = i >= 10 && i < 20;
    must(is_marked(memory + i * page, word) == marked, "page %d is marked %s: not %d", i, word,
         marked);
  }
}
static void expect_filled(const char* memory, int from, int to, char fill) {
  for (int i = from * page; i < to * page; ++i) must(memory[i] == fill, "byte %d", i);
}

/* ---- mlock: stays, and does not bring all of it -------------------------------------------- */

static char* locked;

void set_locked_memory(void) {
  locked = memory_of('l');
  must_call(mlock(locked + 10 * page, 10 * page), "mlock");
}
void check_locked_memory(enum who who) {
  (void)who;
  expect_marked(locked, "lo");
  expect_filled(locked, 0, pages, 'l');
}

/* ---- wiped on fork: a child is one ----------------------------------------------------------- */

static char* wiped;

void set_wiped_memory(void) {
  wiped = memory_of('w');
  must_call(madvise(wiped + 10 * page, 10 * page, MADV_WIPEONFORK), "madvise");
}
void check_wiped_memory(enum who who) {
  static int checked;
  expect_marked(wiped, "wf");
  expect_filled(wiped, 0, 10, 'w');
  expect_filled(wiped, 20, pages, 'w');
  expect_filled(wiped, 10, 20, who == child && !checked++ ? '\0' : 'w');
  memset(wiped + 10 * page, 'w', 10 * page);
  const pid_t pid = fork();
  must_call(pid, "fork");
  if (pid == 0) {
    expect_filled(wiped, 10, 20, '\0');
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  must(status == 0, "the forked process: status %x", (unsigned)status);
}

/* ---- advice ---------------------------------------------------------------------------------- */

static const struct {
  int advice;
  const char* word;
} advised[] = {{MADV_DONTDUMP, "dd"}, {MADV_HUGEPAGE, "hg"},   {MADV_NOHUGEPAGE, "nh"},
               {MADV_RANDOM, "rr"},   {MADV_SEQUENTIAL, "sr"}, {MADV_MERGEABLE, "mg"}};
enum { advices = sizeof advised / sizeof *advised };
static char* of_advice[advices];

void set_advised_memory(void) {
  for (int i = 0; i < advices; ++i) {
    /* Huge pages are not asked for of a cache: what has no pages yet shows that they are else. */
    of_advice[i] = advised[i].advice == MADV_HUGEPAGE
                       ? mmap(NULL, pages * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                       : memory_of('a');
    if (madvise(of_advice[i] + 10 * page, 10 * page, advised[i].advice) != 0) {
      of_advice[i] = NULL; /* a kernel without huge pages, or without KSM */
    }
  }
}
void check_advised_memory(enum who who) {
  (void)who;
  for (int i = 0; i < advices; ++i) {
    if (of_advice[i] == NULL) continue;
    expect_marked(of_advice[i], advised[i].word);
    expect_filled(of_advice[i], 0, pages, advised[i].advice == MADV_HUGEPAGE ? '\0' : 'a');
  }
}
