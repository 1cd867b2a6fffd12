/* SPDX-License-Identifier: MIT */
/* Threads and other programs beside the stress program. See operations.h. */
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model.h"
#include "operations.h"
#include "talk.h"

struct reads {
  const struct area* area;
  size_t first;
};

static void* check_pages(void* argument) {
  const struct reads* reads = argument;
  for (size_t i = 0; i < 32; ++i) {
    page_check(reads->area, (reads->first + i * 7) % reads->area->pages);
  }
  return NULL;
}

void threads_both(uint64_t* random) {
  struct reads reads = {area_any(random), 0};
  reads.first = random_next(random) % reads.area->pages;
  pthread_t threads[2];
  int made = 0;
  while (made < 2 && pthread_create(&threads[made], NULL, check_pages, &reads) == 0) ++made;
  check_pages(&reads);
  while (made > 0) pthread_join(threads[--made], NULL);
}

void spawn_other(uint64_t* random) {
  if (random_next(random) % 16 != 0) return;
  char* argv[] = {"true", NULL};
  pid_t pid = 0;
  if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL) != 0) return;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) wrong("a spawned program ended with status %#x", (unsigned)status);
}
