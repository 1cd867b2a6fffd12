// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE's memory: a reference to every page of the caller, write-protected as fork() does it.
// World: kernel. The caller is alone in its memory (see prepare.c). Steps, in the order below:
// bring what is in files; under the write lock classify the mappings, walk the page tables, flush;
// copy what cannot be shared.
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/ksm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include <asm/tlbflush.h>

#include "shim.h"

enum { CHUNK = 256, MAX_ROUNDS = 1000 };

// A page that is to be copied, until it has been.
static struct page* to_copy(struct page* page) {
  return (struct page*)((unsigned long)page | 1);
}
static bool is_to_copy(struct page* page) {
  return (unsigned long)page & 1;
}
static struct page* plain(struct page* page) {
  return (struct page*)((unsigned long)page & ~1ul);
}

static void drop_pages(struct mitosis_capture* c) {
  u64 i;

  for (i = 0; i < c->page_count; i++) put_page(plain(c->pages[i]));
  c->page_count = 0;
}

void mitosis_capture_drop(struct mitosis_capture* c) {
  drop_pages(c);
  kvfree(c->pages);
  kvfree(c->numbers);
  kvfree(c->vmas);
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
  if (is_special(vma, "[vdso]")) return MITOSIS_VMA_VDSO;
  if (is_vm_hugetlb_page((struct vm_area_struct*)vma))
    why = "huge pages of hugetlbfs";
  else if (vma->vm_flags & (VM_IO | VM_PFNMAP) ||
           (vma->vm_flags & VM_MIXEDMAP && !mitosis_child_of(vma)))
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
static bool has_bytes(const struct vm_area_struct* vma, unsigned long address) {
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

// All that files hold, and what a resumed caller has not fetched yet.
static int bring_all(struct mm_struct* mm, struct page** pages) {
  struct vm_area_struct* vma;
  unsigned long address;
  long got = 0;
  VMA_ITERATOR(all, mm, 0);

  if (mmap_read_lock_killable(mm)) return -EINTR;
  for_each_vma(all, vma) {
    struct mitosis_child* child = mitosis_child_of(vma);

    if (vma->vm_flags & (VM_IO | VM_PFNMAP)) continue;
    for (address = vma->vm_start; got >= 0 && address < vma->vm_end;) {
      unsigned long end = vma->vm_end;

      if (child) {
        mitosis_u64 first, count;

        mutex_lock(&child->lock);
        count = mitosis_core_missing(child->core, linear_page_index(vma, address), &first);
        mutex_unlock(&child->lock);
        if (count == 0 || first >= vma->vm_pgoff + vma_pages(vma)) break;
        address = vma->vm_start + ((first - vma->vm_pgoff) << PAGE_SHIFT);
        end = min(end, address + (unsigned long)(count << PAGE_SHIFT));
      } else if (!has_bytes(vma, address)) {
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

// -- page tables ---------------------------------------------------------------------------------

static bool add(struct mitosis_capture* c, struct page* page, unsigned long address) {
  if (c->page_count == c->room) return false;
  c->pages[c->page_count] = page;
  c->numbers[c->page_count++] = address >> PAGE_SHIFT;
  return true;
}

// Whether others write there, wherever the parent's own writes go.
static bool is_shared(const struct vm_area_struct* vma) {
  return (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

// 0: go on behind it. 1: `address` must be brought first. -ENOMEM: no room.
static int take_pte(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long address,
                    pte_t* entry) {
  bool changes = is_shared(vma);
  pte_t pte = *entry;
  struct page* page;

  if (pte_none(pte)) return has_bytes(vma, address);
  if (!pte_present(pte)) return 1;
  if (is_zero_pfn(pte_pfn(pte))) return 0;
  if (pte_special(pte) || !pfn_valid(pte_pfn(pte))) return 1;
  page = pte_page(pte);
  if (PageAnon(page) && !PageKsm(page)) {
    if (PageAnonExclusive(page) && page_needs_cow_for_dma(vma, page)) {
      changes = true;  // a device writes to it
    } else {
      ptep_set_wrprotect(vma->vm_mm, address, entry);
      ClearPageAnonExclusive(page);
    }
  }
  if (!add(c, changes ? to_copy(page) : page, address)) return -ENOMEM;
  get_page(page);
  return 0;
}

// A huge page stays one in the parent; the child has its small ones.
static int take_pmd(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long address,
                    unsigned long end, pmd_t* entry) {
  struct page* head = pmd_page(*entry);
  unsigned long at;

  if (!PageAnon(head) && !head->mapping) return 0;  // the huge zero page
  if (PageAnon(head)) {
    if (PageAnonExclusive(head) && page_needs_cow_for_dma(vma, head)) {
      mitosis_refuse("prepare: memory at %lx: a device writes to a huge page\n", address);
      return -EOPNOTSUPP;
    }
    pmdp_set_wrprotect(vma->vm_mm, address & PMD_MASK, entry);
    ClearPageAnonExclusive(head);
  }
  for (at = address; at < end; at += PAGE_SIZE) {
    struct page* page = head + ((at & ~PMD_MASK) >> PAGE_SHIFT);

    if (!add(c, is_shared(vma) ? to_copy(page) : page, at)) return -ENOMEM;
    get_page(page);
  }
  return 0;
}

// 0, an error, or 1 with `*missing`, the first page that is to be brought.
static int walk(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long* missing) {
  struct mm_struct* mm = vma->vm_mm;
  unsigned long address = vma->vm_start, end;
  int result = 0;

  for (; !result && address < vma->vm_end; address = end) {
    pgd_t* pgd = pgd_offset(mm, address);
    p4d_t* p4d = NULL;
    pud_t* pud = NULL;
    pmd_t* pmd = NULL;
    spinlock_t* lock;

    end = min((address & PMD_MASK) + PMD_SIZE, vma->vm_end);
    if (!pgd_none(*pgd)) p4d = p4d_offset(pgd, address);
    if (p4d && !p4d_none(*p4d)) pud = pud_offset(p4d, address);
    if (pud && !pud_none(*pud)) pmd = pmd_offset(pud, address);
    if (pmd && pmd_none(*pmd)) pmd = NULL;
    if (pmd && !pmd_present(*pmd)) {  // a huge page that is on its way
      result = 1;
    } else if (pmd && pmd_trans_huge(*pmd)) {
      lock = pmd_lock(mm, pmd);
      result = take_pmd(c, vma, address, end, pmd);
      spin_unlock(lock);
    } else if (pmd) {
      pte_t *first = pte_offset_map_lock(mm, pmd, address, &lock), *pte = first;

      while (!(result = take_pte(c, vma, address, pte)) && address + PAGE_SIZE < end) {
        address += PAGE_SIZE;
        pte++;
      }
      pte_unmap_unlock(first, lock);
    } else {
      result = has_bytes(vma, address);
    }
    if (result == 1) *missing = address;
    cond_resched();
  }
  return result;
}

static void flush(void* unused) {
  __flush_tlb_all();
}

static int copy_changing(struct mitosis_capture* c) {
  u64 i;

  for (i = 0; i < c->page_count; i++) {
    struct page *old = plain(c->pages[i]), *copy;

    if (!is_to_copy(c->pages[i])) continue;
    copy = alloc_page(GFP_HIGHUSER | __GFP_ACCOUNT);
    if (!copy) return -ENOMEM;
    copy_highpage(copy, old);
    c->pages[i] = copy;
    put_page(old);
  }
  return 0;
}

// Under the write lock. 0, an error, or 1 with `*missing`.
static int take_all(struct mitosis_capture* c, struct mm_struct* mm, unsigned long* missing) {
  struct vm_area_struct* vma;
  int result = 0;
  VMA_ITERATOR(all, mm, 0);

  drop_pages(c);
  kvfree(c->vmas);
  c->vma_count = 0;
  c->vmas = kvmalloc_array(mm->map_count, sizeof(*c->vmas), GFP_KERNEL_ACCOUNT);
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
    if (kind != MITOSIS_VMA_VVAR && !(vma->vm_flags & VM_WIPEONFORK))
      result = walk(c, vma, missing);
    if (result) break;
  }
  raw_write_seqcount_end(&mm->write_protect_seq);
  on_each_cpu(flush, NULL, 1);
  return result ? result : copy_changing(c);
}

static int grow(struct mitosis_capture* c, u64 room) {
  kvfree(c->pages);
  kvfree(c->numbers);
  c->pages = kvmalloc_array(room, sizeof(*c->pages), GFP_KERNEL_ACCOUNT);
  c->numbers = kvmalloc_array(room, sizeof(*c->numbers), GFP_KERNEL_ACCOUNT);
  c->room = room;
  return c->pages && c->numbers ? 0 : -ENOMEM;
}

int mitosis_capture_pages(struct mitosis_capture* c) {
  struct page** chunk = kvmalloc_array(CHUNK, sizeof(*chunk), GFP_KERNEL);
  struct mm_struct* mm = current->mm;
  unsigned long missing = 0;
  int result, round;

  if (!chunk) return -ENOMEM;
  result = bring_all(mm, chunk);
  if (!result) result = grow(c, get_mm_rss(mm) + 1024);
  for (round = 0; !result; round++) {
    bool full;

    if (mmap_write_lock_killable(mm)) {
      result = -EINTR;
      break;
    }
    result = take_all(c, mm, &missing);
    full = result == -ENOMEM && c->page_count == c->room;
    mmap_write_unlock(mm);
    if (result == 0 || round == MAX_ROUNDS) break;
    if (full) {
      drop_pages(c);
      result = grow(c, c->room * 2);
    } else if (result == 1) {
      mmap_read_lock(mm);
      result = min(0l, bring(missing, missing + PAGE_SIZE, chunk));
      mmap_read_unlock(mm);
    }
  }
  kvfree(chunk);
  if (result == 1) result = -EAGAIN;
  if (result) mitosis_capture_drop(c);
  return result;
}
