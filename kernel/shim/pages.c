// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE's memory: a reference to every page of the caller, write-protected as fork() does it.
// World: kernel. The caller is alone in its memory (see prepare.c). Steps, in the order below:
// bring what is in files; under the write lock classify the mappings, walk the page tables, flush;
// copy what cannot be shared.
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/userfaultfd_k.h>

#include "pages.h"

enum { CHUNK = 256, MAX_ROUNDS = 1000, FEW_RUNS = 1000 };

static void drop_pages(struct mitosis_capture* c) {
  u64 i;

  for (i = 0; i < c->page_count; i++) put_page(mitosis_plain_page(c->pages[i]));
  c->page_count = c->run_count = 0;
  c->marked = false;
  mitosis_drop_held(c);
}

void mitosis_capture_drop(struct mitosis_capture* c) {
  drop_pages(c);
  mitosis_free(c->pages);
  mitosis_free(c->runs);
  mitosis_free(c->vmas);
  memset(c, 0, sizeof(*c));
}

// -- mappings ------------------------------------------------------------------------------------

static bool is_special(const struct vm_area_struct* vma, const char* name) {
  const char* its =
      vma->vm_ops && vma->vm_ops->name ? vma->vm_ops->name((struct vm_area_struct*)vma) : NULL;
  return its && strcmp(its, name) == 0;
}

// What the child's mapping is; 0: it cannot be prepared, and the log says why.
static u32 kind_of(const struct vm_area_struct* vma) {
  const char* why = NULL;

  if (is_special(vma, "[vvar]") || mitosis_is_vvar(vma)) return MITOSIS_VMA_VVAR;
  if (is_special(vma, "[vdso]") ||
      (mitosis_child_of(vma) && vma->vm_start == (unsigned long)vma->vm_mm->context.vdso))
    return MITOSIS_VMA_VDSO;
  if (is_vm_hugetlb_page((struct vm_area_struct*)vma))
    why = "huge pages of hugetlbfs";
  else if (vma->vm_flags & (VM_IO | VM_PFNMAP) ||
           (vma->vm_flags & VM_MIXEDMAP && !mitosis_child_of(vma)) || vma_is_dax(vma))
    why = "a device";
  else if (vma->vm_flags & VM_DONTCOPY)
    why = "MADV_DONTFORK";
  else if (userfaultfd_armed((struct vm_area_struct*)vma))
    why = "userfaultfd";
  if (why) {
    mitosis_refuse("prepare: memory at %lx cannot be taken along: %s\n", vma->vm_start, why);
    return 0;
  }
  return vma->vm_flags & VM_GROWSDOWN ? MITOSIS_VMA_STACK : MITOSIS_VMA_ANONYMOUS;
}

// Whether a page that is in no page table still has bytes, which a file or the parent's own parent
// holds. What is past a file's end has none.
bool mitosis_has_bytes(const struct vm_area_struct* vma, unsigned long address) {
  if (!vma->vm_ops || mitosis_child_of(vma) || is_special(vma, "[vvar]")) return false;
  if (!vma->vm_file) return true;
  return linear_page_index((struct vm_area_struct*)vma, address) <
         DIV_ROUND_UP(i_size_read(file_inode(vma->vm_file)), PAGE_SIZE);
}

// Brings up to CHUNK pages from `start` on into the page tables.
static long bring(unsigned long start, unsigned long end, struct page** pages) {
  unsigned long count = min_t(unsigned long, CHUNK, (end - start) >> PAGE_SHIFT);
  long got = get_user_pages(start, count, FOLL_FORCE, pages, NULL), i;

  for (i = 0; i < got; i++) put_page(pages[i]);
  if (got == 0) got = -EFAULT;
  if (got < 0) mitosis_refuse("prepare: memory at %lx cannot be read: error %ld\n", start, got);
  return got;
}

// All that files hold; also what a resumed caller has not fetched, where its owners are too many.
static int bring_all(struct mm_struct* mm, struct page** pages) {
  struct vm_area_struct* vma;
  unsigned long address;
  long got = 0;
  VMA_ITERATOR(all, mm, 0);

  if (mmap_read_lock_killable(mm)) return -EINTR;
  for_each_vma(all, vma) {
    struct mitosis_child* child = mitosis_child_of(vma);

    if (vma->vm_flags & (VM_IO | VM_PFNMAP)) continue;
    if (child && mitosis_ancestors_fit(child)) continue;
    for (address = vma->vm_start; got >= 0 && address < vma->vm_end;) {
      unsigned long end = vma->vm_end;

      if (child) {
        mitosis_u64 first, count;

        if (mutex_lock_killable(child->lock)) {
          got = -EINTR;
          break;
        }
        count = mitosis_core_missing(child->core, linear_page_index(vma, address), &first);
        mutex_unlock(child->lock);
        if (count == 0 || first >= vma->vm_pgoff + vma_pages(vma)) break;
        address = vma->vm_start + ((first - vma->vm_pgoff) << PAGE_SHIFT);
        end = min(end, address + (unsigned long)(count << PAGE_SHIFT));
      } else if (!mitosis_has_bytes(vma, address)) {
        break;
      }
      got = bring(address, end, pages);
      if (got > 0) address += got << PAGE_SHIFT;
      if (fatal_signal_pending(current)) got = -EINTR;
      cond_resched();
    }
    if (got < 0) break;
  }
  mmap_read_unlock(mm);
  return got < 0 ? got : 0;
}

// -- all of it ------------------------------------------------------------------------------------

// Under the write lock. 0, an error, or 1 with `*missing`.
static int take_all(struct mitosis_capture* c, struct mm_struct* mm, unsigned long* missing) {
  struct vm_area_struct* vma;
  int result = 0;
  VMA_ITERATOR(all, mm, 0);

  drop_pages(c);
  mitosis_free(c->vmas);
  c->vma_count = 0;
  c->vmas = mitosis_zalloc(mm->map_count * sizeof(*c->vmas));
  if (!c->vmas) return -ENOMEM;
  raw_write_seqcount_begin(&mm->write_protect_seq);
  for_each_vma(all, vma) {
    u32 kind = kind_of(vma);

    if (!kind) result = -EOPNOTSUPP;
    if (result) break;
    if (c->vma_count == mm->map_count) {
      result = -EAGAIN;
      break;
    }
    c->vmas[c->vma_count++] = (struct mitosis_vma){
        vma->vm_start, vma->vm_end, vma->vm_flags & (VM_READ | VM_WRITE | VM_EXEC), kind};
    // The machine's own, which every machine's kernel has, come otherwise.
    if (kind != MITOSIS_VMA_VVAR && kind != MITOSIS_VMA_VDSO && !(vma->vm_flags & VM_WIPEONFORK))
      result = mitosis_take_mapping(c, vma, missing);
    if (result) break;
  }
  raw_write_seqcount_end(&mm->write_protect_seq);
  mitosis_take_end(mm);
  if (!result) result = mitosis_copy_marked(c);
  return result ? result : mitosis_take_held(c, mm);
}

static int make_room(struct mitosis_capture* c, u64 pages, u64 runs) {
  mitosis_free(c->pages);
  mitosis_free(c->runs);
  c->pages = mitosis_shim_allocate(pages * sizeof(*c->pages));
  c->runs = mitosis_shim_allocate(runs * sizeof(*c->runs));
  c->room = pages;
  c->run_room = runs;
  return c->pages && c->runs ? 0 : -ENOMEM;
}

// Without the memory's lock, which others wait for.
static int wait_for_busy(struct mitosis_capture* c) {
  if (mutex_lock_killable(c->busy)) return -EINTR;
  mutex_unlock(c->busy);
  c->busy = NULL;
  return 0;
}

int mitosis_capture_pages(struct mitosis_capture* c) {
  struct page** chunk = mitosis_zalloc(CHUNK * sizeof(*chunk));
  struct mm_struct* mm = current->mm;
  unsigned long missing = 0;
  int result, round;

  if (!chunk) return -ENOMEM;
  result = bring_all(mm, chunk);
  if (!result) result = make_room(c, get_mm_rss(mm) + 1024, mm->map_count + FEW_RUNS);
  for (round = 0; !result; round++) {
    bool full;

    if (mmap_write_lock_killable(mm)) {
      result = -EINTR;
      break;
    }
    result = take_all(c, mm, &missing);
    full =
        result == -ENOMEM && (c->page_count == c->room || c->run_count == c->run_room || c->wanted);
    mmap_write_unlock(mm);
    if (result == 0 || round == MAX_ROUNDS) break;
    if (c->busy) result = wait_for_busy(c);
    if (full) {
      const bool runs = c->run_count == c->run_room;
      const u64 pages = max(c->room * 2, c->room + c->wanted);

      drop_pages(c);
      result = make_room(c, runs ? c->room : pages, runs ? c->run_room * 4 : c->run_room);
    } else if (result == 1) {
      mmap_read_lock(mm);
      // Many may have been swapped out: more than what is missing, as far as there is memory.
      result = min(0l, bring(missing, missing + (CHUNK << PAGE_SHIFT), chunk));
      mmap_read_unlock(mm);
    }
  }
  mitosis_free(chunk);
  if (result == 1) result = -EAGAIN;
  if (result) mitosis_capture_drop(c);
  return result;
}
