// SPDX-License-Identifier: MIT OR GPL-2.0
// A resumed process: its pager's life, and what it does to its memory. World: kernel.
// Who forks gets the same mappings, and a pager of its own for what is still missing.
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "shim.h"

static const struct mmu_notifier_ops notifier_operations;

// -- its life ------------------------------------------------------------------------------------

static struct workqueue_struct* ends;

int mitosis_children_begin(void) {
  ends = alloc_workqueue("mitosis_child", 0, 0);
  return ends ? 0 : -ENOMEM;
}

void mitosis_children_later(struct work_struct* work) {
  queue_work(ends, work);
}

// No mapping is left; what they leave behind is waited for, and then what memories that were ending
// have put meanwhile.
void mitosis_children_end(void) {
  mmu_notifier_synchronize();
  mmu_notifier_synchronize();
  destroy_workqueue(ends);
}

static void destroy(struct mitosis_child* child) {
  mitosis_profile_leave(child);
  mitosis_statistics_leave(child);
  if (child->core) mitosis_core_close(child->core);
  mitosis_cache_put(child->cache);
  mitosis_parent_leave(child->parent);
  mitosis_free(child);
  mitosis_count_all(children_now, -1);
}

static void end(struct work_struct* work) {
  destroy(container_of(work, struct mitosis_child, end));
}

// Takes the cache's reference over.
static struct mitosis_child* allocate(struct mitosis_parent* parent, struct mitosis_cache* cache) {
  struct mitosis_child* child = mitosis_zalloc(sizeof(*child));

  if (!child) {
    mitosis_cache_put(cache);
    return NULL;
  }
  child->cache = cache;
  mitosis_count(children_now);
  mutex_init(&child->own_lock);
  child->lock = cache ? mitosis_cache_lock(cache) : &child->own_lock;
  INIT_WORK(&child->end, end);
  atomic_long_set(&child->users, 1);
  child->notifier.ops = &notifier_operations;
  mitosis_profile_join(child);
  mitosis_statistics_join(child);
  child->parent = mitosis_parent_join(parent);
  return child;
}

// Has it told of what becomes of `mm`, which is locked for writing. A signal would have the kernel
// give up: only one that ends the caller does.
static int join(struct mitosis_child* child, struct mm_struct* mm) {
  sigset_t before;
  int error;

  if (!child->core || mitosis_fails()) return -ENOMEM;
  mitosis_signals_block(&before);
  error = __mmu_notifier_register(&child->notifier, mm);
  mitosis_signals_restore(&before);
  return error;
}

struct mitosis_child* mitosis_child_make(struct mitosis_parent* parent) {
  u64 bytes;
  const void* descriptor = mitosis_parent_descriptor(parent, &bytes);
  struct mitosis_cache* cache = NULL;
  struct mitosis_child* child;
  struct mitosis_name name;
  int error;

  if (mitosis_core_cached()) {
    if (mitosis_core_name(descriptor, bytes, &name) == 0) cache = mitosis_cache_get(&name);
    if (!cache) return ERR_PTR(-ENOMEM);
  }
  child = allocate(parent, cache);
  if (!child) return ERR_PTR(-ENOMEM);
  child->core = mitosis_core_open(descriptor, bytes, child);
  mmap_write_lock(current->mm);
  error = join(child, current->mm);
  mmap_write_unlock(current->mm);
  if (!error) return child;
  destroy(child);
  return ERR_PTR(error);
}

// The process `mm` has just been forked from the child's. Both memories are locked for writing.
struct mitosis_child* mitosis_child_fork(struct mitosis_child* child, struct mm_struct* mm) {
  struct mitosis_child* copy = allocate(child->parent, mitosis_cache_share(child->cache));
  int error;

  if (!copy) return ERR_PTR(-ENOMEM);
  copy->stack_first = child->stack_first;
  copy->vvar_start = child->vvar_start;
  copy->vvar_pages = child->vvar_pages;
  memcpy(copy->vvar, child->vvar, sizeof(copy->vvar));
  error = mutex_lock_killable(child->lock);
  if (!error) {
    copy->core = mitosis_core_fork(child->core, copy);
    mutex_unlock(child->lock);
    error = join(copy, mm);
  }
  if (!error) return copy;
  destroy(copy);
  return ERR_PTR(error);
}

void mitosis_child_get(struct mitosis_child* child) {
  atomic_long_inc(&child->users);
}

void mitosis_child_put(struct mitosis_child* child) {
  // A loop: there may be any number of generations.
  while (child && atomic_long_dec_and_test(&child->users)) {
    struct mitosis_child* const forked = xchg(&child->forked, NULL);

    // Before the module can go: what follows runs from a callback that its exit waits for.
    mmu_notifier_put(&child->notifier);
    child = forked;
  }
}

// A memory that ends forks no more. Its mappings may be gone before, and its last user go
// meanwhile.
static void release(struct mmu_notifier* notifier, struct mm_struct* mm) {
  mitosis_child_put(xchg(&container_of(notifier, struct mitosis_child, notifier)->forked, NULL));
}

// Not to sleep in here.
static void free_notifier(struct mmu_notifier* notifier) {
  queue_work(ends, &container_of(notifier, struct mitosis_child, notifier)->end);
}

// -- what it does to its memory ------------------------------------------------------------------

// Whether madvise may be at work: always the memory's own process, with the mmap lock.
static bool may_be_advised(struct mm_struct* mm) {
  return current->mm == mm && rwsem_is_locked(&mm->mmap_lock);
}

// Bit 0 of a rwsem's count: a writer has it. Of our own lock, or one's that we wait for, so exact.
static bool is_write_locked(struct mm_struct* mm) {
  return atomic_long_read(&mm->mmap_lock.count) & 1;
}

// Before pages are taken out of the page table for good, as madvise(MADV_DONTNEED) does. The same
// is told where they are not:
// - Splitting a mapping tells of the huge page around the cut, there or not: under the write lock,
//   which madvise does not take.
// - Reclaim and migration tell of a page's place in all mappings that may have it: also those of
//   forked processes, which have something else there, or nothing yet. They come from anybody, and
//   hold locks that a fault may wait for; reclaim may come from within our own lock.
// - Copy-on-write tells of a page that is in the page table: it is the child's own, the engine
//   knows nothing of it.
static int invalidate(struct mmu_notifier* notifier, const struct mmu_notifier_range* range) {
  struct mitosis_child* child = container_of(notifier, struct mitosis_child, notifier);
  struct vm_area_struct* vma = range->vma;
  unsigned long start, end;

  if (range->event != MMU_NOTIFY_CLEAR || !vma || mitosis_child_of(vma) != child) return 0;
  if (!may_be_advised(vma->vm_mm) || is_write_locked(vma->vm_mm)) return 0;
  if (current->flags & (PF_MEMALLOC | PF_KTHREAD) || !mmu_notifier_range_blockable(range)) return 0;
  start = max(range->start, vma->vm_start);
  start = max(start, vma->vm_start + ((mitosis_first_page(vma) - vma->vm_pgoff) << PAGE_SHIFT));
  end = min(range->end, vma->vm_end);
  if (start >= end) return 0;
  mutex_lock(child->lock);
  mitosis_core_removed(child->core, linear_page_index(vma, start), (end - start) >> PAGE_SHIFT);
  mutex_unlock(child->lock);
  return 0;
}

static const struct mmu_notifier_ops notifier_operations = {
    .release = release,
    .invalidate_range_start = invalidate,
    .free_notifier = free_notifier,
};
