// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE's third part: what a resumed caller has not fetched yet, which is not fetched for it.
// World: kernel. Of ancestors on this machine the pages are taken along by reference; those on
// other machines become owners of the new descriptor.
#include <linux/mm.h>

#include "pages.h"
#include "ways.h"

enum { MAX_ANCESTORS = MITOSIS_MAX_OWNERS - 1 };

bool mitosis_ancestors_fit(const struct mitosis_child* child) {
  return child->parent->way_count <= MAX_ANCESTORS;
}

// All that the child has not, by its own numbers, which are those of its descriptor; ascending.
static int read_held(struct mitosis_capture* c, struct mitosis_child* child,
                     struct mitosis_held** into, u64* count) {
  u64 room;
  bool known;

  // A cache's may be another child's for seconds, which waits for its owner.
  if (!mutex_trylock(child->lock)) {
    c->busy = child->lock;
    return -EBUSY;
  }
  room = mitosis_core_held(child->core, NULL, 0);
  known = room != MITOSIS_NOT_KNOWN;
  if (known && room) *into = mitosis_zalloc(room * sizeof(**into));
  if (*into) *count = mitosis_core_held(child->core, *into, room);
  mutex_unlock(child->lock);
  if (!known) return -EIO;
  return room && !*into ? -ENOMEM : 0;
}

// The number of the first piece that ends behind the page.
static u64 first_behind(const struct mitosis_held* all, u64 count, u64 page) {
  u64 low = 0, high = count;

  while (low < high) {
    const u64 middle = low + (high - low) / 2;

    if (all[middle].first + all[middle].count <= page)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Of [*page, end), what begins at the new `*page` and is not in the capture already, as pages of a
// cache are that are mapped: up to where. `*run` goes along with calls that ascend.
static u64 find_left(const struct mitosis_capture* c, u64* run, u64* page, u64 end) {
  for (; *run < c->run_count && *page < end; ++*run) {
    const struct mitosis_run* taken = &c->runs[*run];
    const u64 behind = taken->first + taken->count;

    if (taken->first > *page) return min(taken->first, end);
    *page = max(*page, min(behind, end));
    if (behind > end) break;  // goes on behind it
  }
  return end;
}

// Its pages become the capture's own. 1, 0: it has ended, or an error.
static int share(struct mitosis_capture* c, struct mitosis_held* held,
                 struct mitosis_prepared* prepared) {
  bool there;
  u64 i;
  int result;

  if (down_read_killable(&prepared->lock)) return -EINTR;
  there = prepared->pages && held->source <= prepared->page_count &&
          held->count <= prepared->page_count - held->source;
  result = there;
  if (there && held->count > c->room - c->page_count) {
    c->wanted += held->count;
  } else if (there) {
    const u64 first = c->page_count;

    for (i = 0; i < held->count; i++) {
      struct page* page = prepared->pages[held->source + i];

      if (mitosis_is_crowded(page)) {
        result = -EOVERFLOW;
        break;
      }
      get_page(page);
      c->pages[c->page_count++] = page;
    }
    held->source = first;
    held->owner = 0;
  }
  up_read(&prepared->lock);
  return result;
}

// Which of the new descriptor's owners that one is.
static u32 name_owner(struct mitosis_capture* c, const struct mitosis_way* way) {
  struct mitosis_owner* owner;
  u32 i;

  for (i = 0; i < c->ancestor_count; i++) {
    owner = &c->ancestors[i];
    if (owner->target_number == way->owner.target_number &&
        owner->target_key == way->owner.target_key && owner->machine == way->owner.machine)
      return i + 1;
  }
  owner = &c->ancestors[c->ancestor_count++];
  *owner = way->owner;
  // The children's machines may not have been told where it is.
  if (!owner->address[0] && way->address.sin_port)
    snprintf(owner->address, sizeof(owner->address), "%pI4:%u", &way->address.sin_addr,
             ntohs(way->address.sin_port));
  return c->ancestor_count;
}

// A piece of what an owner has, or a part of one.
static int take_piece(struct mitosis_capture* c, const struct mitosis_way* way,
                      struct mitosis_held piece, u64 room) {
  struct mitosis_held* held = &c->held[c->held_count];
  int shared;

  if (c->held_count++ == room) return -EIO;  // the same pages in two mappings
  *held = piece;
  shared = way->prepared ? share(c, held, way->prepared) : 0;
  if (!shared) held->owner = name_owner(c, way);
  cond_resched();
  return min(shared, 0);
}

// `*run`: as of find_left.
static int take(struct mitosis_capture* c, struct vm_area_struct* vma,
                const struct mitosis_parent* parent, const struct mitosis_held* all, u64 count,
                u64* run, u64 room) {
  const u64 first = mitosis_first_page(vma), end = vma->vm_pgoff + vma_pages(vma);
  const u64 moved = (vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff;
  u64 i;
  int error = 0;

  for (i = first_behind(all, count, first); !error && i < count && all[i].first < end; i++) {
    const u64 behind = min_t(u64, all[i].first + all[i].count, end) + moved;
    u64 page = max_t(u64, all[i].first, first) + moved;

    while (!error) {
      const u64 stop = find_left(c, run, &page, behind);
      const struct mitosis_held piece = {.first = page,
                                         .count = stop - page,
                                         .source = all[i].source + (page - moved - all[i].first)};

      if (page == behind) break;
      error = take_piece(c, &parent->ways[all[i].owner], piece, room);
      page = stop;
    }
  }
  return error;
}

static struct mitosis_child* find_child(struct mm_struct* mm) {
  struct mitosis_child* child = NULL;
  struct vm_area_struct* vma;
  VMA_ITERATOR(all, mm, 0);

  for_each_vma(all, vma) {
    child = mitosis_child_of(vma);
    if (child) break;
  }
  return child;
}

// Of an earlier round.
void mitosis_drop_held(struct mitosis_capture* c) {
  mitosis_free(c->held);
  mitosis_free(c->ancestors);
  mitosis_parent_put(c->parent);
  c->held = NULL;
  c->ancestors = NULL;
  c->parent = NULL;
  c->held_count = c->ancestor_count = c->wanted = 0;
}

int mitosis_take_held(struct mitosis_capture* c, struct mm_struct* mm) {
  struct mitosis_child* const child = find_child(mm);
  struct mitosis_held* all = NULL;
  struct vm_area_struct* vma;
  u64 count = 0, run = 0, room;
  int error;
  VMA_ITERATOR(vmas, mm, 0);

  if (!child) return 0;
  error = read_held(c, child, &all, &count);
  if (error || !count) return error;
  // A piece may lie in several mappings, and between runs.
  room = count + mm->map_count + c->run_count;
  c->held = mitosis_zalloc(room * sizeof(*c->held));
  c->ancestors = mitosis_zalloc(MITOSIS_MAX_OWNERS * sizeof(*c->ancestors));
  if (!c->held || !c->ancestors) error = -ENOMEM;
  for_each_vma(vmas, vma) {
    if (error) break;
    if (mitosis_child_of(vma) != child || vma->vm_flags & VM_WIPEONFORK) continue;
    error = take(c, vma, child->parent, all, count, &run, room);
  }
  mitosis_free(all);
  if (!error && c->ancestor_count) c->parent = mitosis_parent_get(child->parent);
  return error ? error : c->wanted ? -ENOMEM : 0;
}
