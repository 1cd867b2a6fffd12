// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE's walk of the page tables: a reference to every page, write-protected as fork() does it.
// World: kernel. Under the mmap write lock; the pages that cannot be shared are marked, and copied
// at the walk's end.
#include <linux/highmem.h>
#include <linux/ksm.h>
#include <linux/sched/mm.h>

#include <asm/tlbflush.h>

#include "pages.h"

static struct page* mark(struct mitosis_capture* c, struct page* page) {
  c->marked = true;
  return (struct page*)((unsigned long)page | 1);
}
static bool is_marked(struct page* page) {
  return (unsigned long)page & 1;
}

// -- page tables ---------------------------------------------------------------------------------

// The pages of [first, end), which have just been added, belong together. False: no room.
static bool note(struct mitosis_capture* c, unsigned long first, unsigned long end) {
  const u64 number = first >> PAGE_SHIFT;

  if (end <= first) return true;
  if (number != c->next) {
    if (c->run_count == c->run_room) return false;
    c->runs[c->run_count++] = (struct mitosis_run){number, 0};
  }
  c->next = end >> PAGE_SHIFT;
  c->runs[c->run_count - 1].count += c->next - number;
  return true;
}

// Whether others write there, or to its file, though the parent may not.
static bool is_shared(const struct vm_area_struct* vma) {
  return vma->vm_flags & VM_MAYSHARE;
}

// Of an entry without a page to take: whether one must be brought.
static bool is_missing(const struct vm_area_struct* vma, unsigned long address, pte_t pte) {
  if (pte_none(pte)) return mitosis_has_bytes(vma, address);
  return !pte_present(pte) || !is_zero_pfn(pte_pfn(pte));
}

static bool is_anonymous(const struct folio* folio) {
  return ((unsigned long)folio->mapping & PAGE_MAPPING_FLAGS) == PAGE_MAPPING_ANON;  // nor KSM's
}

// Not atomic where it need not be: the memory's only thread is here, so an entry that is dirty
// already does not change. What is not dirty yet a kernel thread may write to meanwhile; where
// that is lost, the kernel drops the page as one that nobody needs (MADV_FREE).
static void protect(pte_t* entry, pteval_t pte) {
  if (pte & _PAGE_DIRTY)
    native_set_pte(entry, native_make_pte(pte & ~_PAGE_RW));
  else
    clear_bit(_PAGE_BIT_RW, (unsigned long*)&entry->pte);
}

// The first of `count` entries that are of small anonymous pages, which no device writes to: how
// many. Most of what a prepare takes is in here: it is such a page's only pass, with two atomic
// operations, where fork() has four. So what the compiler would load anew for each page (masks and
// bases that the kernel finds out at boot) is loaded once, and paravirtual calls are not made:
// they are Xen's, under which the module does not load.
static u64 take_plain(struct page** to, pte_t* entry, u64 count) {
  const pteval_t numbers = PTE_PFN_MASK;
  struct page* const map = vmemmap;
  u64 i;

  for (i = 0; i < count; i++) {
    const pteval_t pte = native_pte_val(entry[i]);
    struct page* const page = map + ((pte & numbers) >> PAGE_SHIFT);

    if ((pte & (_PAGE_PRESENT | _PAGE_SPECIAL)) != _PAGE_PRESENT) break;
    if (READ_ONCE(page->compound_head) & 1) break;  // a huge page's, in small ones
    if (!is_anonymous((struct folio*)page)) break;
    if (pte & _PAGE_RW) protect(&entry[i], pte);
    if (PageAnonExclusive(page)) ClearPageAnonExclusive(page);
    page_ref_inc(page);
    to[i] = page;
  }
  return i;
}

// The part of a page table from `*at` on, which is where it ends afterwards. 0, 1: `*at` must be
// brought first, or -ENOMEM: no room.
static int take_table(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long* at,
                      unsigned long end, pte_t* entry, bool copied) {
  const bool pinned = test_bit(MMF_HAS_PINNED, &vma->vm_mm->flags);
  struct page **to = c->pages + c->page_count, **const full = c->pages + c->room;
  unsigned long address = *at, first = address;
  int result = 0;

  for (; address < end; address += PAGE_SIZE, entry++) {
    bool copy = copied;
    pte_t pte;
    struct folio* folio;
    struct page* page;

    if (!copied && !pinned) {
      const u64 plain = take_plain(to, entry, min_t(u64, (end - address) >> PAGE_SHIFT, full - to));

      to += plain;
      entry += plain;
      address += plain << PAGE_SHIFT;
      if (address == end) break;
    }
    pte = *entry;
    if (!pte_present(pte) || pte_special(pte)) {
      result = note(c, first, address) ? is_missing(vma, address, pte) : -ENOMEM;
      first = address + PAGE_SIZE;
      if (result) break;
      continue;
    }
    if (to == full) {
      result = -ENOMEM;
      break;
    }
    page = pte_page(pte);
    folio = page_folio(page);
    if (!copied && is_anonymous(folio)) {
      const bool exclusive = PageAnonExclusive(page);

      if (exclusive && pinned && page_needs_cow_for_dma(vma, page)) {
        copy = true;  // a device writes to it
      } else {
        if (pte_write(pte)) protect(entry, native_pte_val(pte));
        if (exclusive) ClearPageAnonExclusive(page);
      }
    }
    if (mitosis_is_crowded(page)) {
      result = -EOVERFLOW;
      break;
    }
    *to++ = copy ? mark(c, page) : page;
    folio_get(folio);
  }
  if (!result && !note(c, first, address)) result = -ENOMEM;
  c->page_count = to - c->pages;
  *at = address;
  return result;
}

// A huge page stays one in the parent; the child has its small ones.
static int take_pmd(struct mitosis_capture* c, struct vm_area_struct* vma, unsigned long address,
                    unsigned long end, pmd_t* entry, bool copied) {
  struct page *head = pmd_page(*entry), *page = head + ((address & ~PMD_MASK) >> PAGE_SHIFT);
  const u64 count = (end - address) >> PAGE_SHIFT;
  const u64 fitting = min(count, c->room - c->page_count);
  u64 i;

  if (!PageAnon(head) && !head->mapping) return 0;  // the huge zero page
  if (mitosis_is_crowded(head)) return -EOVERFLOW;
  if (PageAnon(head) && !mitosis_core_copies()) {
    if (PageAnonExclusive(head) && page_needs_cow_for_dma(vma, head)) {
      mitosis_refuse("prepare: memory at %lx: a device writes to a huge page\n", address);
      return -EOPNOTSUPP;
    }
    pmdp_set_wrprotect(vma->vm_mm, address & PMD_MASK, entry);
    ClearPageAnonExclusive(head);
  }
  for (i = 0; i < fitting; i++) c->pages[c->page_count++] = copied ? mark(c, page + i) : page + i;
  folio_ref_add(page_folio(head), fitting);  // its pages' count
  return fitting == count && note(c, address, end) ? 0 : -ENOMEM;
}

// Neither a page table nor a huge page of memory: what no mapping that comes here should have.
static int refuse_entry(unsigned long address) {
  mitosis_refuse("prepare: memory at %lx cannot be taken along: a device\n", address);
  return -EOPNOTSUPP;
}

// 0, an error, or 1 with `*missing`, the first page that is to be brought.
int mitosis_take_mapping(struct mitosis_capture* c, struct vm_area_struct* vma,
                         unsigned long* missing) {
  struct mm_struct* mm = vma->vm_mm;
  unsigned long address = vma->vm_start, end;
  const bool copied = is_shared(vma) || mitosis_core_copies();
  int result = 0;

  c->next = ~0ull;  // a run lies in one mapping
  for (; !result && address < vma->vm_end; address = end) {
    pgd_t* pgd = pgd_offset(mm, address);
    p4d_t* p4d = NULL;
    pud_t* pud = NULL;
    pmd_t *pmd = NULL, value;
    spinlock_t* lock;

    end = min((address & PMD_MASK) + PMD_SIZE, vma->vm_end);
    if (!pgd_none(*pgd)) p4d = p4d_offset(pgd, address);
    if (p4d && !p4d_none(*p4d)) pud = pud_offset(p4d, address);
    if (pud && !pud_none(*pud) && pud_bad(*pud)) return refuse_entry(address);
    if (pud && !pud_none(*pud)) pmd = pmd_offset(pud, address);
    value = pmd ? READ_ONCE(*pmd) : __pmd(0);
    if (pmd_none(value)) {
      result = mitosis_has_bytes(vma, address);
    } else if (!pmd_present(value)) {  // a huge page that is on its way
      result = 1;
    } else if (pmd_trans_huge(value)) {
      lock = pmd_lock(mm, pmd);
      if (pmd_present(*pmd) && pmd_trans_huge(*pmd))
        result = take_pmd(c, vma, address, end, pmd, copied);
      else
        end = address;  // it has just been split, or has gone: once more
      spin_unlock(lock);
    } else if (pmd_bad(value)) {
      return refuse_entry(address);
    } else {
      pte_t* first = pte_offset_map_lock(mm, pmd, address, &lock);

      result = take_table(c, vma, &address, end, first, copied);
      pte_unmap_unlock(first, lock);
    }
    if (result == 1) *missing = address;
    cond_resched();
  }
  return result;
}

static void flush(void* unused) {
  __flush_tlb_all();
}

// As the kernel's own flush of a memory (arch/x86/mm/tlb.c, which is not exported): the processors
// that have it now flush; another one that comes to it sees by its generation that it must. The
// increment is inc_mm_tlb_gen's, which modules do not see, and as there a full barrier.
void mitosis_take_end(struct mm_struct* mm) {
  atomic64_inc_return(&mm->context.tlb_gen);
  on_each_cpu_mask(mm_cpumask(mm), flush, NULL, 1);
}

int mitosis_copy_marked(struct mitosis_capture* c) {
  u64 i;

  for (i = 0; c->marked && i < c->page_count; i++) {
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
