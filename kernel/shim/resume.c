// SPDX-License-Identifier: MIT OR GPL-2.0
// RESUME: the caller becomes a child of a parent of this machine or another's. World: kernel.
// Up to the point where its memory goes, whatever fails leaves the caller as it was.
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nsproxy.h>
#include <linux/proc_ns.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/time_namespace.h>

#include "shim.h"

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

// Another time namespace's has a page of its own there, which ends with that namespace.
static bool has_machines_clock(void) {
#ifdef CONFIG_TIME_NS
  if (current->nsproxy->time_ns->ns.inum != PROC_TIME_INIT_INO) {
    mitosis_refuse("resume: process %d is in a time namespace of its own\n", task_tgid_nr(current));
    return false;
  }
#endif
  return true;
}

// From here on there is no way back.
static int become(struct mitosis_child* child, struct file* file,
                  const struct mitosis_image* image) {
  const u64 begun = mitosis_shim_now();
  int error = vm_munmap(0, TASK_SIZE);
  u64 i;

  for (i = 0; !error && i < image->vma_count; i++) {
    error = mitosis_child_map(child, file, &image->vmas[i]);
    if (error)
      pr_notice("resume: memory at %lx cannot be mapped: error %d\n", image->vmas[i].start, error);
  }
  if (!error) {
    error = mitosis_child_bring_all(child);
    if (error) pr_notice("resume: not all of the memory could be brought: error %d\n", error);
  }
  mitosis_profile_call(MITOSIS_RESUME_MEMORY, begun);
  if (error)
    send_sig(SIGKILL, current, 1);
  else
    mitosis_restore_state(image);
  return error;
}

static int resume(struct mitosis_parent* parent) {
  u64 bytes;
  const void* descriptor = mitosis_parent_descriptor(parent, &bytes);
  struct mitosis_image* image;
  struct mitosis_child* child = NULL;
  struct file* file;
  void* xstate;
  int error;

  if (!mitosis_is_alone("resume") || !has_machines_clock()) return -EOPNOTSUPP;
  image = mitosis_zalloc(sizeof(*image));
  xstate = mitosis_zalloc(mitosis_xstate_bytes());
  error = -ENOMEM;
  if (!image || !xstate) goto out;
  error = mitosis_core_decode(descriptor, bytes, image);
  if (!error) error = mitosis_state_check(image);
  if (error) goto out;
  memcpy(xstate, image->xstate, image->xstate_bytes);
  image->xstate = xstate;
  child = mitosis_child_make(parent);
  error = PTR_ERR_OR_ZERO(child);
  if (error) {
    child = NULL;
    goto out;
  }
  note_vvar(child, image);
  file = mitosis_fails() ? ERR_PTR(-ENOMEM)
                         : anon_inode_getfile("[mitosis]", &mitosis_child_file, child, O_RDWR);
  error = PTR_ERR_OR_ZERO(file);
  if (error) goto out;
  error = mitosis_restore_fpu(image);
  if (!error) error = become(child, file, image);
  fput(file);
out:
  mitosis_child_put(child);
  if (image) mitosis_shim_free(image->vmas);
  mitosis_free(image);
  mitosis_free(xstate);
  return error ? error : 1;  // what the child's Prepare returns
}

// With its key, or, where it has none, as its user.
static bool may_resume(const struct mitosis_prepared* prepared, const u8* key) {
  if (key) {
    if (prepared->keyed && mitosis_is_key(key, prepared->key)) return true;
    mitosis_refuse("resume: that is not the key of handler %llu\n", prepared->handler);
    return false;
  }
  if (prepared->keyed)
    mitosis_refuse("resume: handler %llu takes its key\n", prepared->handler);
  else if (mitosis_prepared_is_ours(prepared))
    return true;
  else
    mitosis_refuse("resume: handler %llu is another user's\n", prepared->handler);
  return false;
}

static int resume_local(u64 handler, const u8* key) {
  struct mitosis_prepared* prepared = mitosis_prepared_find(handler);
  struct mitosis_parent* parent = NULL;
  int error = -EACCES;

  if (!prepared) {
    mitosis_refuse("resume: no handler %llu is prepared on this machine\n", handler);
    return -ENOENT;
  }
  if (may_resume(prepared, key)) {
    parent = mitosis_parent_here(prepared);
    error = PTR_ERR_OR_ZERO(parent);
  }
  mitosis_prepared_put(prepared);
  if (error) return error;
  error = resume(parent);
  mitosis_parent_put(parent);
  return error;
}

static int resume_remote(u32 machine, u64 handler, const u8* key) {
  struct mitosis_parent* parent;
  const u64 begun = mitosis_shim_now();
  int error;

  // The owner's machine cannot tell whose process asks: without keys, only root may.
  if (!key && !capable(CAP_SYS_PTRACE)) {
    mitosis_refuse("resume: from another machine without a key takes CAP_SYS_PTRACE\n");
    return -EACCES;
  }
  parent = mitosis_parent_elsewhere(machine, handler, key);
  mitosis_profile_call(MITOSIS_RESUME_CONNECT, begun);
  if (IS_ERR(parent)) return PTR_ERR(parent);
  error = resume(parent);
  mitosis_parent_put(parent);
  return error;
}

int mitosis_resume_local(u64 handler, const u8* key) {
  const int result = resume_local(handler, key);

  mitosis_count_resume(result, false);
  return result;
}

int mitosis_resume_remote(u32 machine, u64 handler, const u8* key) {
  const int result = resume_remote(machine, handler, key);

  mitosis_count_resume(result, true);
  return result;
}
