/* SPDX-License-Identifier: MIT */
/* Operations on the address space. See operations.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "model.h"
#include "operations.h"
#include "talk.h"

struct range {
  struct area* area;
  size_t first, count;
};

static struct range range_any(uint64_t* random, size_t most) {
  struct range range = {area_any(random), 0, 0};
  range.first = random_next(random) % range.area->pages;
  range.count = 1 + random_next(random) % most;
  if (range.count > range.area->pages - range.first) range.count = range.area->pages - range.first;
  return range;
}
static char* start(struct range range) {
  return range.area->at + range.first * page_size;
}
static size_t length(struct range range) {
  return range.count * page_size;
}
/* Its pages are zeros now. */
static void forget(struct range range, uint64_t* random) {
  for (size_t i = 0; i < range.count; ++i) {
    const struct page_record record = record_of(range.area, range.first + i);
    record_set(range.area, range.first + i, record.id, 0);
  }
  page_check(range.area, range.first + random_next(random) % range.count);
}
static void must(int failed, const char* what) {
  if (failed) wrong("%s: %s", what, strerror(errno));
}

void drop(uint64_t* random) {
  const struct range range = range_any(random, 24);
  if (random_next(random) % 4 == 0) {
    /* The old bytes or zeros, as the kernel likes, until they are written again. On memory that is
     * shared with a machine's cache (a private mapping of a memfd) it fails, and yet the kernel
     * tells the userfaultfd that the pages were removed: zeros there, too. */
    const int freed = madvise(start(range), length(range), MADV_FREE) == 0;
    must(!freed && errno != EINVAL, "MADV_FREE");
    for (size_t i = 0; i < range.count; ++i) page_write(range.area, range.first + i);
    page_check(range.area, range.first);
    return;
  }
  must(madvise(start(range), length(range), MADV_DONTNEED) != 0, "MADV_DONTNEED");
  forget(range, random);
}

void anew(uint64_t* random) {
  const struct range range = range_any(random, 24);
  if (random_next(random) % 2 == 0) must(munmap(start(range), length(range)) != 0, "munmap");
  const void* at = mmap(start(range), length(range), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  must(at == MAP_FAILED, "mmap anew");
  forget(range, random);
}

/* Whether the kernel has the range as one mapping. mremap fails where it has not, and may have
 * moved some of it then (since Linux 6.17, and of those without a userfaultfd alone). */
static int is_one_mapping(const char* at, size_t pages) {
  FILE* maps = fopen("/proc/self/maps", "re");
  unsigned long first = 0, end = 0;
  int found = 0;
  if (maps == NULL) return 0;
  while (!found && fscanf(maps, "%lx-%lx%*[^\n]", &first, &end) == 2) {
    found = first <= (unsigned long)at && (unsigned long)at + pages * page_size <= end;
  }
  fclose(maps);
  return found;
}

static void grow(struct area* area, size_t more, uint64_t* random) {
  const size_t before = area->pages, after = before + more;
  struct page_record* records = realloc(area->records, after * sizeof *records);
  if (records == NULL) return;
  area->records = records;
  char* at = mremap(area->at, before * page_size, after * page_size, MREMAP_MAYMOVE);
  if (at == MAP_FAILED && errno == EFAULT && device_child()) return;
  must(at == MAP_FAILED, "mremap to grow");
  area->at = at;
  area->pages = after;
  for (size_t i = before; i < after; ++i) {
    record_set(area, i, (uint32_t)random_next(random), 0);
  }
  page_check(area, after - 1);
}

/* Shrinks, and has new pages there if the place is still free. */
static void shrink(struct area* area, size_t less, uint64_t* random) {
  const size_t left = area->pages - less;
  char* end = area->at + left * page_size;
  must(mremap(area->at, area->pages * page_size, left * page_size, 0) != area->at, "mremap");
  const void* at = mmap(end, less * page_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == MAP_FAILED) {
    area->pages = left;
  } else {
    forget((struct range){area, left, less}, random);
  }
}

void grow_or_shrink(uint64_t* random) {
  struct area* area = area_any(random);
  const size_t pages = area->pages, change = 1 + random_next(random) % 64;
  if (!is_one_mapping(area->at, pages)) return;
  if (pages + change < 16384 && (pages < 2 * change || random_next(random) % 2 == 0)) {
    grow(area, change, random);
  } else {
    shrink(area, change, random);
  }
  page_check(area, random_next(random) % area->pages);
}

/* A place that is surely free, and not mapped any more once something was moved there. */
static char* free_place(size_t pages) {
  char* at =
      mmap(NULL, pages * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}
static void must_move(char* from, char* to, size_t pages) {
  const size_t bytes = pages * page_size;
  must(mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to, "mremap");
}

void move(uint64_t* random) {
  struct area* area = area_any(random);
  if (!is_one_mapping(area->at, area->pages)) return;
  char* to = free_place(area->pages);
  if (to == NULL) return;
  must_move(area->at, to, area->pages);
  area->at = to;
  page_check(area, random_next(random) % area->pages);
}

void move_and_back(uint64_t* random) {
  const struct range range = range_any(random, 16);
  if (!is_one_mapping(start(range), range.count)) return;
  char* to = free_place(range.count);
  if (to == NULL) return;
  must_move(start(range), to, range.count);
  if (random_next(random) % 2 == 0) {
    bytes_check(to, record_of(range.area, range.first), "moved");
  }
  must_move(to, start(range), range.count);
  page_check(range.area, range.first + range.count - 1);
}

void protect(uint64_t* random) {
  const struct range range = range_any(random, 24);
  const int protection = random_next(random) % 2 == 0 ? PROT_NONE : PROT_READ;
  must(mprotect(start(range), length(range), protection) != 0, "mprotect");
  if (protection == PROT_READ) page_check(range.area, range.first);
  const int back = PROT_READ | PROT_WRITE;
  must(mprotect(start(range), length(range), back) != 0, "mprotect back");
  page_check(range.area, range.first + random_next(random) % range.count);
}

void lock(uint64_t* random) {
  const struct range range = range_any(random, 24);
  if (mlock(start(range), length(range)) != 0) {
    must(errno != ENOMEM && errno != EPERM && errno != EAGAIN, "mlock");
    return;
  }
  page_check(range.area, range.first + range.count - 1);
  must(munlock(start(range), length(range)) != 0, "munlock");
}
