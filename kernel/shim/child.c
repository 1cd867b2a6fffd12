// SPDX-License-Identifier: MIT OR GPL-2.0
// A resumed process's memory: private mappings of a file of ours, whose faults the C++ serves.
// World: kernel. A mapping's page offset is the page's number as of prepare, also after mremap. A
// page that was put into the page table is the child's own from then on; who forks gets the same,
// and a pager of its own for what is still missing.
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "shim.h"

static const struct vm_operations_struct pages_operations;
static const struct vm_operations_struct vvar_operations;
static const struct mmu_notifier_ops notifier_operations;

struct mitosis_child* mitosis_child_of(const struct vm_area_struct* vma) {
  return vma->vm_ops == &pages_operations ? vma->vm_private_data : NULL;
}

bool mitosis_is_vvar(const struct vm_area_struct* vma) {
  return vma->vm_ops == &vvar_operations;
}

// -- its life ------------------------------------------------------------------------------------

static struct workqueue_struct* ends;

int mitosis_children_begin(void) {
  ends = alloc_workqueue("mitosis_child", 0, 0);
  return ends ? 0 : -ENOMEM;
}

// No mapping is left; what they leave behind is waited for.
void mitosis_children_end(void) {
  mmu_notifier_synchronize();
  destroy_workqueue(ends);
}

static void destroy(struct mitosis_child* child) {
  if (child->core) mitosis_core_close(child->core);
  mitosis_prepared_put(child->source.prepared);
  mitosis_remote_put(child->source.remote);
  kfree(child);
}

static void end(struct work_struct* work) {
  destroy(container_of(work, struct mitosis_child, end));
}

static struct mitosis_child* allocate(const struct mitosis_source* source) {
  struct mitosis_child* child = kzalloc(sizeof(*child), GFP_KERNEL_ACCOUNT);

  if (!child) return NULL;
  mutex_init(&child->lock);
  INIT_WORK(&child->end, end);
  atomic_long_set(&child->users, 1);
  child->notifier.ops = &notifier_operations;
  child->source = *source;
  if (source->prepared) kref_get(&source->prepared->references);
  mitosis_remote_get(source->remote);
  return child;
}

struct mitosis_child* mitosis_child_make(const struct mitosis_source* source,
                                         const void* descriptor, u64 bytes) {
  struct mitosis_child* child = allocate(source);

  if (!child) return NULL;
  child->core = mitosis_core_open(descriptor, bytes, child);
  if (child->core && mmu_notifier_register(&child->notifier, current->mm) == 0) return child;
  destroy(child);
  return NULL;
}

// The process `mm` has just been forked from the child's. Both memories are locked for writing.
static struct mitosis_child* make_fork(struct mitosis_child* child, struct mm_struct* mm) {
  struct mitosis_child* copy = allocate(&child->source);

  if (!copy) return NULL;
  copy->vvar_start = child->vvar_start;
  copy->vvar_pages = child->vvar_pages;
  memcpy(copy->vvar, child->vvar, sizeof(copy->vvar));
  mutex_lock(&child->lock);
  copy->core = mitosis_core_fork(child->core, copy);
  mutex_unlock(&child->lock);
  if (copy->core && __mmu_notifier_register(&copy->notifier, mm) == 0) return copy;
  destroy(copy);
  return NULL;
}

static void get(struct mitosis_child* child) {
  atomic_long_inc(&child->users);
}

void mitosis_child_put(struct mitosis_child* child) {
  if (!child || !atomic_long_dec_and_test(&child->users)) return;
  // Before the module can go: what follows runs from a callback that its exit waits for.
  mitosis_child_put(child->forked);
  child->forked = NULL;
  mmu_notifier_put(&child->notifier);
}

// Not to sleep in here.
static void free_notifier(struct mmu_notifier* notifier) {
  queue_work(ends, &container_of(notifier, struct mitosis_child, notifier)->end);
}

// -- its mappings --------------------------------------------------------------------------------

static void open_mapping(struct vm_area_struct* vma) {
  struct mitosis_child* child = vma->vm_private_data;

  if (!child) return;
  if (vma->vm_mm != child->notifier.mm) {
    // A fork: all its mappings share one pager. `forked` is kept, so that its mm is no other's.
    if (!child->forked || child->forked->notifier.mm != vma->vm_mm) {
      mitosis_child_put(child->forked);
      child->forked = make_fork(child, vma->vm_mm);
    }
    child = child->forked;
    vma->vm_private_data = child;  // null: what is missing there raises SIGBUS
    if (!child) {
      pr_notice_ratelimited("no memory for the pager of a forked process: it may get SIGBUS\n");
      return;
    }
  }
  get(child);
}

static void close_mapping(struct vm_area_struct* vma) {
  mitosis_child_put(vma->vm_private_data);
}

void mitosis_shim_read(struct mitosis_child* child, struct mitosis_read* reads, mitosis_u32 count) {
  if (child->source.remote)
    mitosis_remote_read(child->source.remote, reads, count);
  else
    mitosis_prepared_read(child->source.prepared, reads, count);
}

// A landing's pages become the child's.
mitosis_u64 mitosis_shim_insert(struct mitosis_child* child, mitosis_u64 page, mitosis_u64 count,
                                void* memory) {
  struct vm_area_struct* vma = child->fault->vma;
  mitosis_u64 i;

  for (i = 0; i < count; i++, page++) {
    unsigned long address = vma->vm_start + ((page - vma->vm_pgoff) << PAGE_SHIFT);
    int error;

    if (page < vma->vm_pgoff || page >= vma->vm_pgoff + vma_pages(vma)) break;
    error = vm_insert_page(vma, address, virt_to_page(memory + (i << PAGE_SHIFT)));
    if (error && error != -EBUSY) break;
  }
  return i;
}

static vm_fault_t fault(struct vm_fault* vmf) {
  struct mitosis_child* child = vmf->vma->vm_private_data;
  int error;

  if (!child) return VM_FAULT_SIGBUS;
  // To die: not NOPAGE, which would have the kernel's own accesses fault for ever.
  if (mutex_lock_killable(&child->lock)) return VM_FAULT_SIGBUS;
  child->fault = vmf;
  error = mitosis_core_fault(child->core, vmf->pgoff);
  child->fault = NULL;
  mutex_unlock(&child->lock);
  if (!error) return VM_FAULT_NOPAGE;
  if (error == -ENOMEM) return VM_FAULT_OOM;
  if (fatal_signal_pending(current)) return VM_FAULT_SIGBUS;
  mitosis_refuse(
      "process %d: the page at %lx cannot be had: its parent was reclaimed or has "
      "ended%s\n",
      task_tgid_nr(current), vmf->address,
      child->source.remote ? ", or its machine cannot be reached" : "");
  return VM_FAULT_SIGBUS;
}

// The clock's pages are the machine's own.
static vm_fault_t vvar_fault(struct vm_fault* vmf) {
  struct mitosis_child* child = vmf->vma->vm_private_data;
  u64 index = vmf->pgoff - (child ? child->vvar_start >> PAGE_SHIFT : 0);

  if (!child || index >= child->vvar_pages || !child->vvar[index]) return VM_FAULT_SIGBUS;
  return vmf_insert_pfn(vmf->vma, vmf->address & PAGE_MASK, child->vvar[index]);
}

static const struct vm_operations_struct pages_operations = {
    .open = open_mapping,
    .close = close_mapping,  // also keeps neighbours from being merged
    .fault = fault,
};

static const struct vm_operations_struct vvar_operations = {
    .open = open_mapping,
    .close = close_mapping,
    .fault = vvar_fault,
};

static int make_mapping(struct file* file, struct vm_area_struct* vma) {
  struct mitosis_child* child = file->private_data;
  const struct mitosis_vma* mapping = child->mapping;

  // Only mitosis_child_map maps; growth would show the neighbour's pages.
  if (!mapping) return -EPERM;
  vma->vm_flags |= VM_DONTEXPAND;
  if (mapping->kind == MITOSIS_VMA_VVAR) {
    vma->vm_flags |= VM_PFNMAP | VM_IO | VM_DONTDUMP;
    vma->vm_flags &= ~(VM_MAYWRITE | VM_WRITE | VM_MAYEXEC);
    vma->vm_ops = &vvar_operations;
  } else {
    // VM_MIXEDMAP: page tables are always copied by fork(), and single pages put into them.
    vma->vm_flags |= VM_MIXEDMAP | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
    if (mapping->prot & PROT_EXEC) vma->vm_flags |= VM_EXEC;
    if (mapping->kind == MITOSIS_VMA_STACK) vma->vm_flags |= VM_GROWSDOWN;
    vma->vm_ops = &pages_operations;
  }
  get(child);
  vma->vm_private_data = child;
  return 0;
}

const struct file_operations mitosis_child_file = {
    .owner = THIS_MODULE,
    .mmap = make_mapping,
};

int mitosis_child_map(struct mitosis_child* child, struct file* file,
                      const struct mitosis_vma* mapping) {
  unsigned long at;

  child->mapping = mapping;
  // The file's own folder forbids PROT_EXEC: make_mapping adds it.
  at = vm_mmap(file, mapping->start, mapping->end - mapping->start, mapping->prot & ~PROT_EXEC,
               MAP_PRIVATE | MAP_FIXED_NOREPLACE, mapping->start);
  child->mapping = NULL;
  if (IS_ERR_VALUE(at)) return (int)at;
  return at == mapping->start ? 0 : -EEXIST;
}

// -- what it does to its memory ------------------------------------------------------------------

// Bit 0 of a rwsem's count: a writer has it. Of our own lock, or one's that we wait for, so exact.
static bool is_write_locked(struct mm_struct* mm) {
  return atomic_long_read(&mm->mmap_lock.count) & 1;
}

// Before pages are taken out of the page table for good, as madvise(MADV_DONTNEED) does. The same
// is told where they are not:
// - Splitting a mapping tells of the huge page around the cut, there or not: under the write lock,
//   which madvise does not take.
// - Reclaim, migration and copy-on-write tell of pages that are in the page table: those are the
//   child's own, the engine knows nothing of them. Reclaim may come from within our own lock.
static int invalidate(struct mmu_notifier* notifier, const struct mmu_notifier_range* range) {
  struct mitosis_child* child = container_of(notifier, struct mitosis_child, notifier);
  struct vm_area_struct* vma = range->vma;
  unsigned long start, end;

  if (range->event != MMU_NOTIFY_CLEAR || !vma || mitosis_child_of(vma) != child) return 0;
  if (is_write_locked(vma->vm_mm)) return 0;
  if (current->flags & (PF_MEMALLOC | PF_KTHREAD) || !mmu_notifier_range_blockable(range)) return 0;
  start = max(range->start, vma->vm_start);
  end = min(range->end, vma->vm_end);
  if (start >= end) return 0;
  mutex_lock(&child->lock);
  mitosis_core_removed(child->core, linear_page_index(vma, start), (end - start) >> PAGE_SHIFT);
  mutex_unlock(&child->lock);
  return 0;
}

static const struct mmu_notifier_ops notifier_operations = {
    .invalidate_range_start = invalidate,
    .free_notifier = free_notifier,
};
