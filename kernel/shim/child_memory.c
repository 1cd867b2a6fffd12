// SPDX-License-Identifier: MIT OR GPL-2.0
// A resumed process's memory: private mappings of a file of ours, whose faults the C++ serves.
// World: kernel. A mapping's page offset is the page's number as of prepare, also after mremap. A
// page that was put into the page table is the child's own from then on.
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "shim.h"

static const struct vm_operations_struct pages_operations;
static const struct vm_operations_struct vvar_operations;

struct mitosis_child* mitosis_child_of(const struct vm_area_struct* vma) {
  return vma->vm_ops == &pages_operations ? vma->vm_private_data : NULL;
}

bool mitosis_is_vvar(const struct vm_area_struct* vma) {
  return vma->vm_ops == &vvar_operations;
}

u64 mitosis_first_page(const struct vm_area_struct* vma) {
  if (!(vma->vm_flags & VM_GROWSDOWN)) return vma->vm_pgoff;
  return max_t(u64, vma->vm_pgoff, mitosis_child_of(vma)->stack_first);
}

static void open_mapping(struct vm_area_struct* vma) {
  struct mitosis_child* child = vma->vm_private_data;

  if (!child) return;
  if (vma->vm_mm != child->notifier.mm) {
    // A fork: all its mappings share one pager. `forked` is kept, so that its mm is no other's.
    if (!child->forked || child->forked->notifier.mm != vma->vm_mm) {
      struct mitosis_child* forked = mitosis_child_fork(child, vma->vm_mm);

      if (IS_ERR(forked)) {
        pr_notice_ratelimited("a forked process has no pager and may get SIGBUS: error %ld\n",
                              PTR_ERR(forked));
        forked = NULL;
      }
      mitosis_child_put(child->forked);
      child->forked = forked;
    }
    child = child->forked;
    vma->vm_private_data = child;  // null: what is missing there raises SIGBUS
    if (!child) return;
  }
  mitosis_child_get(child);
}

static void close_mapping(struct vm_area_struct* vma) {
  mitosis_child_put(vma->vm_private_data);
}

void mitosis_shim_read(struct mitosis_child* child, struct mitosis_read* reads, mitosis_u32 count) {
  mitosis_parent_read(child->parent, reads, count, child->since);
}

// A landing's pages become the child's; those of a cache are shared.
static mitosis_u64 insert(struct mitosis_child* child, mitosis_u64 page, mitosis_u64 count,
                          void* memory, mitosis_u64 key) {
  // While all are brought, the caller has the memory's lock.
  struct vm_area_struct* vma =
      child->fault ? child->fault->vma : find_vma(current->mm, page << PAGE_SHIFT);
  const mitosis_u64 first = page;
  mitosis_u64 i;

  if (!vma || mitosis_child_of(vma) != child) return 0;

  for (i = 0; i < count; i++, page++) {
    unsigned long address = vma->vm_start + ((page - vma->vm_pgoff) << PAGE_SHIFT);
    struct page* bytes = memory ? virt_to_page(memory + (i << PAGE_SHIFT))
                                : mitosis_cache_page(child->cache, key + i);
    int error;

    if (!bytes || page < vma->vm_pgoff || page >= vma->vm_pgoff + vma_pages(vma)) break;
    error = vm_insert_page(vma, address, bytes);
    if (error && error != -EBUSY) break;
  }
  if (mitosis_parent_is_here(child->parent))
    mitosis_count_all(local_pages, i);
  else
    mitosis_count_all(remote_pages, i);
  if (child->fault) {
    const bool asked = child->fault->pgoff >= first && child->fault->pgoff < first + i;

    mitosis_count_all(ahead_pages, i - asked);
  }
  return i;
}

// Where the stack has grown.
static vm_fault_t zero_fault(struct vm_fault* vmf) {
  struct page* page =
      mitosis_fails() ? NULL : alloc_page(GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_ZERO);
  int error;

  if (!page) return VM_FAULT_OOM;
  error = vm_insert_page(vmf->vma, vmf->address & PAGE_MASK, page);
  put_page(page);
  if (!error || error == -EBUSY) return VM_FAULT_NOPAGE;
  return error == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

static vm_fault_t fault(struct vm_fault* vmf) {
  struct mitosis_child* child = vmf->vma->vm_private_data;
  const unsigned long since = jiffies;
  int error;

  if (!child) return VM_FAULT_SIGBUS;
  if (vmf->pgoff < mitosis_first_page(vmf->vma)) return zero_fault(vmf);
  // To die: not NOPAGE, which would have the kernel's own accesses fault for ever.
  if (mutex_lock_killable(child->lock)) return VM_FAULT_SIGBUS;
  child->fault = vmf;
  child->since = since;
  error = mitosis_core_fault(child->core, vmf->pgoff);
  child->fault = NULL;
  mutex_unlock(child->lock);
  mitosis_count(faults);
  if (!error) return VM_FAULT_NOPAGE;
  mitosis_count(failed_faults);
  if (error == -ENOMEM) return VM_FAULT_OOM;
  if (fatal_signal_pending(current)) return VM_FAULT_SIGBUS;
  mitosis_refuse(
      "process %d: the page at %lx cannot be had: its parent was reclaimed or has "
      "ended%s\n",
      task_tgid_nr(current), vmf->address,
      mitosis_parent_is_here(child->parent) ? "" : ", or its machine cannot be reached");
  return VM_FAULT_SIGBUS;
}

mitosis_u64 mitosis_shim_insert(struct mitosis_child* child, mitosis_u64 page, mitosis_u64 count,
                                void* memory) {
  return insert(child, page, count, memory, 0);
}

mitosis_u64 mitosis_shim_insert_cached(struct mitosis_child* child, mitosis_u64 page,
                                       mitosis_u64 count, mitosis_u64 key) {
  return insert(child, page, count, NULL, key);
}

int mitosis_child_bring_all(struct mitosis_child* child) {
  int error;

  if (!mitosis_core_eager()) return 0;
  mmap_read_lock(current->mm);
  mutex_lock(child->lock);
  child->since = jiffies;
  error = mitosis_core_bring_all(child->core);
  mutex_unlock(child->lock);
  mmap_read_unlock(current->mm);
  return error;
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
    if (mapping->kind == MITOSIS_VMA_STACK) {
      vma->vm_flags |= VM_GROWSDOWN;
      if (!child->stack_first) child->stack_first = vma->vm_pgoff;  // the lowest part of it
    }
    vma->vm_ops = &pages_operations;
  }
  mitosis_child_get(child);
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
