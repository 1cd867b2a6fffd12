// SPDX-License-Identifier: MIT OR GPL-2.0
// What this machine's children of one parent have fetched, for those that come. World: kernel.
// A cache lives as long as a child has it. All its children have its lock: a page is fetched once,
// and shared until one of them writes.
#include <linux/moduleparam.h>
#include <linux/xarray.h>

#include "shim.h"

static unsigned int cache_mib;
module_param(cache_mib, uint, 0644);
MODULE_PARM_DESC(cache_mib, "MiB of pages that all caches may hold (0: no bound)");

struct mitosis_cache {
  struct list_head entry;  // in `caches`, and `users`: under their lock
  unsigned long users;
  struct mitosis_name name;
  struct mutex lock;
  struct xarray pages;  // of struct page, by the descriptor's numbers
};

static LIST_HEAD(caches);
static DEFINE_MUTEX(caches_lock);
static atomic_long_t all_pages = ATOMIC_LONG_INIT(0);

static struct mitosis_cache* make(const struct mitosis_name* name) {
  struct mitosis_cache* c = mitosis_zalloc(sizeof(*c));

  if (!c) return NULL;
  c->name = *name;
  mutex_init(&c->lock);
  xa_init(&c->pages);
  list_add(&c->entry, &caches);
  return c;
}

struct mitosis_cache* mitosis_cache_get(const struct mitosis_name* name) {
  struct mitosis_cache *c, *found = NULL;

  mutex_lock(&caches_lock);
  list_for_each_entry(c, &caches, entry) {
    if (memcmp(&c->name, name, sizeof(*name)) == 0) found = c;
  }
  if (!found) found = make(name);
  if (found) found->users++;
  mutex_unlock(&caches_lock);
  return found;
}

struct mitosis_cache* mitosis_cache_share(struct mitosis_cache* c) {
  if (!c) return NULL;
  mutex_lock(&caches_lock);
  c->users++;
  mutex_unlock(&caches_lock);
  return c;
}

void mitosis_cache_put(struct mitosis_cache* c) {
  struct page* page;
  unsigned long key;

  if (!c) return;
  mutex_lock(&caches_lock);
  if (--c->users) {
    mutex_unlock(&caches_lock);
    return;
  }
  list_del(&c->entry);
  mutex_unlock(&caches_lock);
  xa_for_each(&c->pages, key, page) {
    put_page(page);
    atomic_long_dec(&all_pages);
  }
  xa_destroy(&c->pages);
  mitosis_free(c);
}

struct mutex* mitosis_cache_lock(struct mitosis_cache* c) {
  return &c->lock;
}

// -- for the C++, under the lock -----------------------------------------------------------------

int mitosis_shim_cached(struct mitosis_child* child, mitosis_u64 key) {
  return xa_load(&child->cache->pages, key) != NULL;
}

int mitosis_shim_cache_room(struct mitosis_child* child, mitosis_u64 count) {
  const unsigned int mib = READ_ONCE(cache_mib);

  return !mib || atomic_long_read(&all_pages) + count <= (u64)mib << (20 - PAGE_SHIFT);
}

// What finds no memory is not cached: then it is fetched again.
void mitosis_shim_cache(struct mitosis_child* child, mitosis_u64 key, mitosis_u64 count,
                        void* memory) {
  mitosis_u64 i;

  for (i = 0; i < count; i++) {
    struct page* page = virt_to_page(memory + (i << PAGE_SHIFT));

    if (mitosis_fails() || xa_insert(&child->cache->pages, key + i, page, GFP_KERNEL)) continue;
    get_page(page);
    atomic_long_inc(&all_pages);
  }
}

struct page* mitosis_cache_page(struct mitosis_cache* c, u64 key) {
  return xa_load(&c->pages, key);
}
