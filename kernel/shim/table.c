// SPDX-License-Identifier: MIT OR GPL-2.0
// Prepared parents by their handler: how much they may hold, how they end. World: kernel.
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "shim.h"

static unsigned int budget_mib, user_budget_mib;
module_param(budget_mib, uint, 0644);
MODULE_PARM_DESC(budget_mib, "MiB of pages that all prepared parents may hold (0: no bound)");
module_param(user_budget_mib, uint, 0644);
MODULE_PARM_DESC(user_budget_mib, "the same for those of one user, root's apart (0: no bound)");

static DEFINE_XARRAY(table);
static DEFINE_MUTEX(table_lock);

// Those that other machines have ended by their keys, the latest: under the table's lock.
enum { RECLAIMED = 64 };
static struct reclaimed {
  u64 handler;
  bool keyed;
  u8 key[MITOSIS_KEY_BYTES];
} reclaimed[RECLAIMED];
static unsigned int next_reclaimed;

static void end_leases(struct work_struct* work);
static DECLARE_DELAYED_WORK(leases, end_leases);

// -- all below under the table's lock ------------------------------------------------------------

static bool is_within(u64 pages, unsigned int mib) {
  return !mib || pages <= (u64)mib << (20 - PAGE_SHIFT);
}

static bool has_room(const struct mitosis_prepared* prepared) {
  const struct mitosis_prepared* other;
  u64 all = prepared->page_count, users = prepared->page_count;
  unsigned long handler;

  xa_for_each(&table, handler, other) {
    all += other->page_count;
    if (uid_eq(other->uid, prepared->uid)) users += other->page_count;
  }
  if (is_within(all, budget_mib) &&
      (uid_eq(prepared->uid, GLOBAL_ROOT_UID) || is_within(users, user_budget_mib)))
    return true;
  mitosis_refuse("prepare: handler %llu finds no room in budget_mib or user_budget_mib\n",
                 prepared->handler);
  return false;
}

static void erase(struct mitosis_prepared* prepared) {
  xa_erase(&table, prepared->handler);
  mitosis_count_all(prepared_now, -1);
  mitosis_count_all(prepared_pages_now, -(s64)prepared->page_count);
  mitosis_prepared_revoke(prepared);
  mitosis_prepared_put(prepared);
}

// One that the caller may end; else an error in the pointer.
static struct mitosis_prepared* find_ours(u64 handler) {
  struct mitosis_prepared* prepared = xa_load(&table, handler);

  if (!prepared) return ERR_PTR(-ENOENT);
  return mitosis_prepared_is_ours(prepared) ? prepared : ERR_PTR(-EACCES);
}

static void lease(struct mitosis_prepared* prepared, u32 seconds) {
  prepared->lease_end = seconds ? ktime_get_boottime_seconds() + seconds : 0;
  if (seconds) mod_delayed_work(system_wq, &leases, 0);
}

static void end_leases(struct work_struct* work) {
  struct mitosis_prepared* prepared;
  unsigned long handler;
  u64 next = 0, now;

  mutex_lock(&table_lock);
  now = ktime_get_boottime_seconds();
  xa_for_each(&table, handler, prepared) {
    if (!prepared->lease_end) continue;
    if (prepared->lease_end <= now) {
      erase(prepared);
      mitosis_count(ended_leases);
    } else if (!next || prepared->lease_end < next) {
      next = prepared->lease_end;
    }
  }
  if (next) mod_delayed_work(system_wq, &leases, min_t(u64, next - now, 3600) * HZ);
  mutex_unlock(&table_lock);
}

// -- for others ----------------------------------------------------------------------------------

int mitosis_prepared_publish(struct mitosis_prepared* prepared, u32 lease_seconds) {
  int error = -ENOSPC;

  mutex_lock(&table_lock);
  if (has_room(prepared))
    error = mitosis_fails() ? -ENOMEM : xa_insert(&table, prepared->handler, prepared, GFP_KERNEL);
  if (!error) {
    kref_get(&prepared->references);
    mitosis_count(prepared_now);
    mitosis_count_all(prepared_pages_now, prepared->page_count);
    if (lease_seconds) lease(prepared, lease_seconds);
  }
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

void mitosis_prepared_end(const void* holder) {
  struct mitosis_prepared* prepared;
  unsigned long handler;

  mutex_lock(&table_lock);
  xa_for_each(&table, handler, prepared) {
    if (!holder || prepared->holder == holder) erase(prepared);
  }
  mutex_unlock(&table_lock);
  if (holder) return;
  cancel_delayed_work_sync(&leases);
  memzero_explicit(reclaimed, sizeof(reclaimed));
}

int mitosis_prepared_reclaim(u64 handler) {
  struct mitosis_prepared* prepared;

  mutex_lock(&table_lock);
  prepared = find_ours(handler);
  if (!IS_ERR(prepared)) {
    erase(prepared);
    mitosis_count(reclaims);
  }
  mutex_unlock(&table_lock);
  return PTR_ERR_OR_ZERO(prepared);
}

void mitosis_prepared_finish(const struct mitosis_prepared* prepared) {
  mutex_lock(&table_lock);
  if (xa_load(&table, prepared->handler) == prepared) {
    struct reclaimed* entry = &reclaimed[next_reclaimed++ % RECLAIMED];

    entry->handler = prepared->handler;
    entry->keyed = prepared->keyed;
    memcpy(entry->key, prepared->key, sizeof(entry->key));
    erase((struct mitosis_prepared*)prepared);
    mitosis_count(reclaims);
  }
  mutex_unlock(&table_lock);
}

// Without a key it may have been another of that number.
int mitosis_shim_was_reclaimed(mitosis_u64 handler, const unsigned char* key) {
  bool found = false;
  unsigned int i;

  mutex_lock(&table_lock);
  for (i = 0; i < RECLAIMED && !found; i++)
    found = reclaimed[i].keyed && reclaimed[i].handler == handler &&
            mitosis_is_key(key, reclaimed[i].key);
  mutex_unlock(&table_lock);
  return found;
}

struct mitosis_prepared* mitosis_shim_find_target(mitosis_u32 number, mitosis_u64 key) {
  struct mitosis_prepared *prepared, *found = NULL;
  unsigned long handler;

  mutex_lock(&table_lock);
  xa_for_each(&table, handler, prepared) {
    const struct mitosis_parent_name* its = &prepared->identity;

    if (its->target_number != number || its->target_key != key) continue;
    kref_get(&prepared->references);
    found = prepared;
    break;
  }
  mutex_unlock(&table_lock);
  return found;
}

int mitosis_prepared_renew(u64 handler, u32 seconds) {
  struct mitosis_prepared* prepared;

  mutex_lock(&table_lock);
  prepared = find_ours(handler);
  if (!IS_ERR(prepared)) lease(prepared, seconds);
  mutex_unlock(&table_lock);
  return PTR_ERR_OR_ZERO(prepared);
}

// 0: it has ended, and its number may be another's.
static u32 pid_of(const struct mitosis_prepared* p) {
  u32 number;

  rcu_read_lock();
  number = pid_task(p->pid, PIDTYPE_TGID) ? pid_vnr(p->pid) : 0;
  rcu_read_unlock();
  return number;
}

static struct mitosis_entry entry_of(const struct mitosis_prepared* p) {
  const u64 now = ktime_get_boottime_seconds();

  struct mitosis_entry entry = {
      .handler = p->handler,
      .generation = p->generation,
      .pages = p->page_count,
      .descriptor_bytes = p->descriptor_bytes,
      .pid = pid_of(p),
      .uid = from_kuid_munged(current_user_ns(), p->uid),
      .lease_seconds = !p->lease_end        ? 0
                       : p->lease_end > now ? p->lease_end - now
                                            : 1,
      .flags = (p->keyed ? MITOSIS_IS_KEYED : 0) | (p->holder ? 0 : MITOSIS_IS_STAYING),
      .users = kref_read(&p->references) - 1,
      .age_seconds = now - p->prepared_at,
  };
  memcpy(entry.name, p->name, sizeof(entry.name));
  return entry;
}

int mitosis_prepared_list(struct mitosis_list* list) {
  const struct mitosis_prepared* prepared;
  struct mitosis_entry* entries;
  unsigned long handler;
  u32 room, written = 0;
  int error;

  list->count = 0;
  strscpy_pad(list->policy, mitosis_core_policy(), sizeof(list->policy));
  mutex_lock(&table_lock);
  xa_for_each(&table, handler, prepared) list->count += mitosis_prepared_is_ours(prepared);
  room = min(list->room, list->count);
  entries = mitosis_zalloc(room * sizeof(*entries));
  xa_for_each(&table, handler, prepared) {
    if (entries && written < room && mitosis_prepared_is_ours(prepared))
      entries[written++] = entry_of(prepared);
  }
  mutex_unlock(&table_lock);
  error = entries ? 0 : -ENOMEM;
  // Not under the lock: the caller's memory may be long in coming.
  if (!error && copy_to_user(u64_to_user_ptr(list->entries), entries, written * sizeof(*entries)))
    error = -EFAULT;
  mitosis_free(entries);
  return error;
}
