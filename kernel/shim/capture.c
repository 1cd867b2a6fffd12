// SPDX-License-Identifier: MIT OR GPL-2.0
// What a descriptor has of the caller besides memory and registers: its vdso, its open descriptors.
// World: kernel.
#include <linux/fdtable.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "shim.h"

enum { MAX_VDSO = SZ_64K, MAX_FILES = 4096 };

int mitosis_capture_vdso(struct mitosis_image* image, void** vdso) {
  const struct mitosis_vma* vma = NULL;
  u64 i, bytes;
  u8* front;

  for (i = 0; i < image->vma_count; i++) {
    if (image->vmas[i].kind == MITOSIS_VMA_VDSO) vma = &image->vmas[i];
  }
  if (!vma) return 0;
  bytes = vma->end - vma->start;
  if (bytes > MAX_VDSO) return -EOPNOTSUPP;
  *vdso = front = mitosis_zalloc(bytes);
  if (!front) return -ENOMEM;
  if (copy_from_user(front, (const void __user*)vma->start, bytes)) return -EFAULT;
  while (bytes && !front[bytes - 1]) bytes--;
  image->vdso = front;
  image->vdso_bytes = bytes;
  return 0;
}

struct numbers {
  int* into;
  u64 count;
};

// Under the table's lock.
static int add(const void* to, struct file* file, unsigned int number) {
  struct numbers* all = (struct numbers*)to;

  if (all->count == MAX_FILES) return -EMFILE;
  all->into[all->count++] = number;
  return 0;
}

int mitosis_capture_files(struct mitosis_image* image, int** files) {
  struct numbers all = {};
  int error;

  *files = all.into = mitosis_zalloc(MAX_FILES * sizeof(*all.into));
  if (!all.into) return -ENOMEM;
  error = iterate_fd(current->files, 0, add, &all);
  if (error) {
    mitosis_refuse("prepare: process %d has more than %d open descriptors\n", task_tgid_nr(current),
                   MAX_FILES);
    return error;
  }
  image->files = all.into;
  image->file_count = all.count;
  return 0;
}
