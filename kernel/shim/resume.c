// SPDX-License-Identifier: MIT OR GPL-2.0
// RESUME: the caller becomes a child of a parent that this machine has prepared. World: kernel.
// Up to the point where its memory goes, whatever fails leaves the caller as it was.
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "shim.h"

static bool may_resume(const struct mitosis_prepared* prepared) {
  return capable(CAP_SYS_PTRACE) ||
         (uid_eq(current_uid(), prepared->uid) && uid_eq(current_euid(), prepared->euid));
}

// The frames of the clock's pages, out of the caller's own mapping, which is about to go.
static void note_vvar(struct mitosis_child* child, const struct mitosis_image* image) {
  struct mm_struct* mm = current->mm;
  struct vm_area_struct* vma;
  u64 i;
  VMA_ITERATOR(all, mm, 0);

  for (i = 0; i < image->vma_count; i++) {
    if (image->vmas[i].kind != MITOSIS_VMA_VVAR) continue;
    child->vvar_start = image->vmas[i].start;
    child->vvar_pages = (image->vmas[i].end - image->vmas[i].start) >> PAGE_SHIFT;
  }
  child->vvar_pages = min_t(u64, child->vvar_pages, MITOSIS_MAX_VVAR_PAGES);
  mmap_read_lock(mm);
  for_each_vma(all, vma) {
    const char* name = vma->vm_ops && vma->vm_ops->name ? vma->vm_ops->name(vma) : NULL;

    if (!mitosis_is_vvar(vma) && !(name && strcmp(name, "[vvar]") == 0)) continue;
    for (i = 0; i < child->vvar_pages && i < vma_pages(vma); i++) {
      unsigned long address = vma->vm_start + (i << PAGE_SHIFT);

      if (follow_pfn(vma, address, &child->vvar[i]) == 0) continue;
      child->vvar[i] = 0;
      if (fixup_user_fault(mm, address, 0, NULL) == 0) follow_pfn(vma, address, &child->vvar[i]);
    }
    break;
  }
  mmap_read_unlock(mm);
}

// From here on there is no way back.
static int become(struct mitosis_child* child, struct file* file,
                  const struct mitosis_image* image) {
  int error = vm_munmap(0, TASK_SIZE);
  u64 i;

  for (i = 0; !error && i < image->vma_count; i++) {
    error = mitosis_child_map(child, file, &image->vmas[i]);
    if (error)
      pr_notice("resume: memory at %lx cannot be mapped: error %d\n", image->vmas[i].start, error);
  }
  if (error)
    send_sig(SIGKILL, current, 1);
  else
    mitosis_restore_state(image);
  return error;
}

int mitosis_resume_local(u64 handler) {
  struct mitosis_prepared* prepared = mitosis_prepared_find(handler);
  struct mitosis_image* image = NULL;
  struct mitosis_child* child = NULL;
  struct file* file;
  int error;

  if (!prepared) {
    mitosis_refuse("resume: no handler %llu is prepared on this machine\n", handler);
    return -ENOENT;
  }
  error = -EACCES;
  if (!may_resume(prepared)) {
    mitosis_refuse("resume: handler %llu is another user's\n", handler);
    goto out;
  }
  error = -EOPNOTSUPP;
  if (!mitosis_is_alone("resume")) goto out;
  error = -ENOMEM;
  image = kvzalloc(sizeof(*image), GFP_KERNEL_ACCOUNT);
  if (!image) goto out;
  error = mitosis_core_decode(prepared->descriptor, prepared->descriptor_bytes, image);
  if (error) goto out;
  error = -EINVAL;
  if (image->xstate_bytes != mitosis_xstate_bytes()) goto out;
  error = -ENOMEM;
  child = mitosis_child_make(prepared);
  if (!child) goto out;
  note_vvar(child, image);
  file = anon_inode_getfile("[mitosis]", &mitosis_child_file, child, O_RDWR);
  error = PTR_ERR_OR_ZERO(file);
  if (error) goto out;
  error = become(child, file, image);
  fput(file);
  if (!error) error = 1;  // what the child's Prepare returns
out:
  mitosis_child_put(child);
  if (image) mitosis_shim_free(image->vmas);
  kvfree(image);
  mitosis_prepared_put(prepared);
  return error;
}
