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

static void destroy(struct kref* references) {
  struct mitosis_prepared* prepared = container_of(references, struct mitosis_prepared, references);

  mitosis_export_drop(prepared);
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
  prepared->revoked = true;  // no peer is accepted from now on
  up_write(&prepared->lock);
  mitosis_server_revoke(prepared);
  down_write(&prepared->lock);
  mitosis_export_drop(prepared);
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

bool mitosis_prepared_is_ours(const struct mitosis_prepared* prepared) {
  return capable(CAP_SYS_PTRACE) ||
         (uid_eq(current_uid(), prepared->uid) && uid_eq(current_euid(), prepared->euid));
}

int mitosis_prepared_reclaim(u64 handler) {
  struct mitosis_prepared* prepared;
  int error = 0;

  mutex_lock(&table_lock);
  prepared = xa_load(&table, handler);
  if (!prepared) {
    error = -ENOENT;
  } else if (!mitosis_prepared_is_ours(prepared)) {
    error = -EACCES;
  } else {
    xa_erase(&table, handler);
    revoke(prepared);
    mitosis_prepared_put(prepared);
  }
  mutex_unlock(&table_lock);
  return error;
}

static int read_one(struct mitosis_prepared* prepared, const struct mitosis_read* read) {
  u64 i;

  if (!prepared->pages) return -ESTALE;
  if (read->index > prepared->page_count || read->count > prepared->page_count - read->index)
    return -EINVAL;
  for (i = 0; i < read->count; i++)
    memcpy_from_page(read->into + (i << PAGE_SHIFT), prepared->pages[read->index + i], 0,
                     PAGE_SIZE);
  return 0;
}

void mitosis_prepared_read(struct mitosis_prepared* prepared, struct mitosis_read* reads,
                           u32 count) {
  u32 i;

  down_read(&prepared->lock);
  for (i = 0; i < count; i++) reads[i].result = read_one(prepared, &reads[i]);
  up_read(&prepared->lock);
}
