// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE's walk of the page tables: a reference to every page, write-protected as fork() does it.
// World: kernel. Under the mmap write lock; the pages that cannot be shared are marked, and copied
// at the walk's end.
#include <linux/highmem.h>
#include <linux/ksm.h>
#include <linux/sched/mm.h>

#include <asm/tlbflush.h>

#include "pages.h"

static struct page* marked(struct page* page) {
  return (struct page*)((unsigned long)page | 1);
}
static bool is_marked(struct page* page) {
  return (unsigned long)page & 1;
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
static bool is_copied(const struct vm_area_struct* vma) {
  return is_shared(vma) || mitosis_core_copies();
}

// 0: go on behind it. 1: `address` must be brought first. -ENOMEM: no room.
static int take_pte(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long address,
                    pte_t* entry) {
  bool changes = is_copied(vma);
  pte_t pte = *entry;
  struct page* page;

  if (pte_none(pte)) return mitosis_has_bytes(vma, address);
  if (!pte_present(pte)) return 1;
  if (is_zero_pfn(pte_pfn(pte))) return 0;
  if (pte_special(pte) || !pfn_valid(pte_pfn(pte))) return 1;
  page = pte_page(pte);
  if (!changes && PageAnon(page) && !PageKsm(page)) {
    const bool exclusive = PageAnonExclusive(page);

    if (exclusive && page_needs_cow_for_dma(vma, page)) {
      changes = true;  // a device writes to it
    } else {
      if (pte_write(pte)) ptep_set_wrprotect(vma->vm_mm, address, entry);
      if (exclusive) ClearPageAnonExclusive(page);
    }
  }
  if (!add(c, changes ? marked(page) : page, address)) return -ENOMEM;
  get_page(page);
  return 0;
}

// A huge page stays one in the parent; the child has its small ones.
static int take_pmd(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long address,
                    unsigned long end, pmd_t* entry) {
  struct page* head = pmd_page(*entry);
  unsigned long at;

  if (!PageAnon(head) && !head->mapping) return 0;  // the huge zero page
  if (PageAnon(head) && !mitosis_core_copies()) {
    if (PageAnonExclusive(head) && page_needs_cow_for_dma(vma, head)) {
      mitosis_refuse("prepare: memory at %lx: a device writes to a huge page\n", address);
      return -EOPNOTSUPP;
    }
    pmdp_set_wrprotect(vma->vm_mm, address & PMD_MASK, entry);
    ClearPageAnonExclusive(head);
  }
  for (at = address; at < end; at += PAGE_SIZE) {
    struct page* page = head + ((at & ~PMD_MASK) >> PAGE_SHIFT);

    if (!add(c, is_copied(vma) ? marked(page) : page, at)) return -ENOMEM;
    get_page(page);
  }
  return 0;
}

// 0, an error, or 1 with `*missing`, the first page that is to be brought.
int mitosis_take_mapping(struct mitosis_capture* c, struct vm_area_struct* vma,
                         unsigned long* missing) {
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
      result = mitosis_has_bytes(vma, address);
    }
    if (result == 1) *missing = address;
    cond_resched();
  }
  return result;
}

static void flush(void* unused) {
  __flush_tlb_all();
}
void mitosis_take_end(void) {
  on_each_cpu(flush, NULL, 1);
}

int mitosis_copy_marked(struct mitosis_capture* c) {
  u64 i;

  for (i = 0; i < c->page_count; i++) {
    struct page *old = mitosis_plain_page(c->pages[i]), *copy;

    if (!is_marked(c->pages[i])) continue;
    copy = mitosis_fails() ? NULL : alloc_page(GFP_HIGHUSER | __GFP_ACCOUNT);
    if (!copy) return -ENOMEM;
    copy_highpage(copy, old);
    c->pages[i] = copy;
    put_page(old);
  }
  return 0;
}
