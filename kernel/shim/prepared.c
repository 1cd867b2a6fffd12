// SPDX-License-Identifier: MIT OR GPL-2.0
// A prepared parent. World: kernel.
// Who resumes or pages from one has a reference; its pages go earlier, when it is revoked.
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/pid.h>
#include <linux/sched.h>

#include "shim.h"

struct mitosis_prepared* mitosis_prepared_make(void) {
  struct mitosis_prepared* prepared = mitosis_zalloc(sizeof(*prepared));

  if (!prepared) return NULL;
  kref_init(&prepared->references);
  init_rwsem(&prepared->lock);
  prepared->uid = current_uid();
  prepared->euid = current_euid();
  prepared->pid = get_task_pid(current, PIDTYPE_TGID);
  prepared->prepared_at = ktime_get_boottime_seconds();
  get_task_comm(prepared->name, current);
  return prepared;
}

static void drop_pages(struct mitosis_prepared* prepared) {
  u64 i;

  if (!prepared->pages) return;
  for (i = 0; i < prepared->page_count; i++) put_page(prepared->pages[i]);
  mitosis_free(prepared->pages);
  prepared->pages = NULL;
}

static void destroy(struct kref* references) {
  struct mitosis_prepared* prepared = container_of(references, struct mitosis_prepared, references);

  mitosis_export_drop(prepared);
  drop_pages(prepared);
  mitosis_free(prepared->descriptor);
  mitosis_parent_put_later(prepared->ancestors);
  put_pid(prepared->pid);
  memzero_explicit(prepared->key, sizeof(prepared->key));
  mitosis_free(prepared);
}

void mitosis_prepared_put(struct mitosis_prepared* prepared) {
  if (prepared) kref_put(&prepared->references, destroy);
}

void mitosis_prepared_revoke(struct mitosis_prepared* prepared) {
  down_write(&prepared->lock);
  prepared->revoked = true;  // no peer is accepted from now on
  up_write(&prepared->lock);
  mitosis_server_revoke(prepared);
  down_write(&prepared->lock);
  mitosis_export_drop(prepared);
  drop_pages(prepared);
  mitosis_parent_put_later(prepared->ancestors);
  prepared->ancestors = NULL;
  up_write(&prepared->lock);
}

bool mitosis_prepared_is_ours(const struct mitosis_prepared* prepared) {
  return capable(CAP_SYS_PTRACE) ||
         (uid_eq(current_uid(), prepared->uid) && uid_eq(current_euid(), prepared->euid));
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

// -- for the C++: what other machines' agents ask of it
// --------------------------------------------

struct mitosis_prepared* mitosis_shim_find(mitosis_u64 handler) {
  return mitosis_prepared_find(handler);
}

void mitosis_shim_put(struct mitosis_prepared* prepared) {
  mitosis_prepared_put(prepared);
}

// A key of zeros is none.
int mitosis_shim_opens(const struct mitosis_prepared* prepared, const unsigned char* key) {
  static const u8 none[MITOSIS_KEY_BYTES];

  return mitosis_is_key(key, prepared->keyed ? prepared->key : none);
}

void mitosis_shim_tell(const struct mitosis_prepared* prepared, struct mitosis_told* into) {
  *into = (struct mitosis_told){prepared->descriptor, prepared->descriptor_bytes,
                                prepared->identity.generation};
}

void mitosis_shim_read_prepared(struct mitosis_prepared* prepared, struct mitosis_read* read) {
  mitosis_prepared_read(prepared, read, 1);
}

void mitosis_shim_reclaim(mitosis_u64 handler, const struct mitosis_prepared* prepared) {
  mitosis_prepared_finish(prepared);
}
