// SPDX-License-Identifier: MIT OR GPL-2.0
// What PREPARE's parts know of each other: pages.c, page_tables.c, ancestors.c. World: kernel.
#ifndef MITOSIS_PAGES_H
#define MITOSIS_PAGES_H

#include "shim.h"

// pages.c: whether a page that is in no page table still has bytes, which a file or the parent's
// own parent holds. What is past a file's end has none.
bool mitosis_has_bytes(const struct vm_area_struct* vma, unsigned long address);

// ancestors.c: whether what the child has not fetched can be named; else it is brought.
bool mitosis_ancestors_fit(const struct mitosis_child* child);
// Under the write lock, after all mappings: adds it. 0 or an error; -ENOMEM with `wanted`: it needs
// room for as many pages more; -EBUSY with `busy`: once that is free.
int mitosis_take_held(struct mitosis_capture* capture, struct mm_struct* mm);
void mitosis_drop_held(struct mitosis_capture* capture);

// page_tables.c. Adds a mapping's pages. 0, an error, or 1 with `*missing`, the first page that is
// to be brought. -ENOMEM with a full capture: it needs more room.
int mitosis_take_mapping(struct mitosis_capture* capture, struct vm_area_struct* vma,
                         unsigned long* missing);
// Afterwards no processor writes to what was protected.
void mitosis_take_end(struct mm_struct* mm);
// Pages that are marked to be copied are until then not the capture's own.
int mitosis_copy_marked(struct mitosis_capture* capture);
// Whether so many have the page that one more, or a huge page's, might let its count overflow.
static inline bool mitosis_is_crowded(struct page* page) {
  return page_ref_count(compound_head(page)) > INT_MAX / 2;
}
static inline struct page* mitosis_plain_page(struct page* page) {
  return (struct page*)((unsigned long)page & ~1ul);
}

#endif
