// SPDX-License-Identifier: MIT OR GPL-2.0
// Prepared parents by their handler. World: kernel.
// Who resumes or pages from one has a reference; its pages go earlier, when it is revoked.
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "shim.h"

static DEFINE_XARRAY(table);
static DEFINE_MUTEX(table_lock);

struct mitosis_prepared* mitosis_prepared_make(void) {
  struct mitosis_prepared* prepared = kzalloc(sizeof(*prepared), GFP_KERNEL_ACCOUNT);

  if (!prepared) return NULL;
  kref_init(&prepared->references);
  init_rwsem(&prepared->lock);
  prepared->uid = current_uid();
  prepared->euid = current_euid();
  return prepared;
}

static void drop_pages(struct mitosis_prepared* prepared) {
  u64 i;

  if (!prepared->pages) return;
  for (i = 0; i < prepared->page_count; i++) put_page(prepared->pages[i]);
  kvfree(prepared->pages);
  prepared->pages = NULL;
}

// May run where sleeping is forbidden: a child's last reference is dropped there.
static void destroy(struct kref* references) {
  struct mitosis_prepared* prepared = container_of(references, struct mitosis_prepared, references);

  drop_pages(prepared);
  kvfree(prepared->descriptor);
  kfree(prepared);
}

void mitosis_prepared_put(struct mitosis_prepared* prepared) {
  if (prepared) kref_put(&prepared->references, destroy);
}

int mitosis_prepared_publish(struct mitosis_prepared* prepared) {
  int error;

  mutex_lock(&table_lock);
  error = xa_insert(&table, prepared->handler, prepared, GFP_KERNEL);
  if (!error) kref_get(&prepared->references);
  mutex_unlock(&table_lock);
  return error == -EBUSY ? -EEXIST : error;
}

struct mitosis_prepared* mitosis_prepared_find(u64 handler) {
  struct mitosis_prepared* prepared;

  mutex_lock(&table_lock);
  prepared = xa_load(&table, handler);
  if (prepared) kref_get(&prepared->references);
  mutex_unlock(&table_lock);
  return prepared;
}

static void revoke(struct mitosis_prepared* prepared) {
  down_write(&prepared->lock);
  drop_pages(prepared);
  up_write(&prepared->lock);
}

void mitosis_prepared_end(const void* holder) {
  struct mitosis_prepared* prepared;
  unsigned long handler;

  mutex_lock(&table_lock);
  xa_for_each(&table, handler, prepared) {
    if (holder && prepared->holder != holder) continue;
    xa_erase(&table, handler);
    revoke(prepared);
    mitosis_prepared_put(prepared);
  }
  mutex_unlock(&table_lock);
}

int mitosis_shim_read_local(struct mitosis_child* child, mitosis_u64 index, mitosis_u64 count,
                            void* into) {
  struct mitosis_prepared* source = child->source;
  int result = 0;
  mitosis_u64 i;

  down_read(&source->lock);
  if (!source->pages)
    result = -ESTALE;
  else if (index > source->page_count || count > source->page_count - index)
    result = -EINVAL;
  for (i = 0; !result && i < count; i++)
    memcpy_from_page(into + (i << PAGE_SHIFT), source->pages[index + i], 0, PAGE_SIZE);
  up_read(&source->lock);
  return result;
}
