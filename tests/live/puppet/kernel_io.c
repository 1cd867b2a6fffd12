/* SPDX-License-Identifier: MIT */
/* The kernel reads and writes pages that may not be there yet. See operations.h. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "model.h"
#include "operations.h"
#include "talk.h"

struct spot {
  struct area* area;
  size_t page;
};

static struct spot spot_any(uint64_t* random) {
  struct area* area = area_any(random);
  return (struct spot){area, random_next(random) % area->pages};
}
static char* at(struct spot spot) {
  return spot.area->at + spot.page * page_size;
}
static void must_be_page(ssize_t count, const char* what) {
  if (count != page_size) wrong("%s: %zd, %s", what, count, strerror(errno));
}

/* From one page into a descriptor, and from there into another. */
static void copy(struct spot from, struct spot to, int in, int out) {
  must_be_page(write(in, at(from), page_size), "write");
  if (in == out) lseek(in, 0, SEEK_SET);
  must_be_page(read(out, at(to), page_size), "read");
}

void through_kernel(uint64_t* random) {
  const struct spot from = spot_any(random), to = spot_any(random);
  const struct page_record record = record_of(from.area, from.page);
  int ends[2];
  switch (random_next(random) % 3) {
    case 0:
      if (pipe(ends) != 0) return;
      copy(from, to, ends[1], ends[0]);
      close(ends[0]);
      close(ends[1]);
      break;
    case 1: {
      const int file = memfd_create("puppet", MFD_CLOEXEC);
      if (file < 0) return;
      copy(from, to, file, file);
      close(file);
      break;
    }
    default: {
      const struct iovec source = {at(from), page_size};
      const struct iovec target = {at(to), page_size};
      must_be_page(process_vm_readv(getpid(), &target, 1, &source, 1, 0), "process_vm_readv");
    }
  }
  record_set(to.area, to.page, record.id, record.version);
  page_check(to.area, to.page);
  page_check(from.area, from.page);
}
