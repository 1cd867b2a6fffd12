// SPDX-License-Identifier: MIT OR GPL-2.0
// What the module has done so far, in numbers. World: kernel.
#include <linux/list.h>

#include "shim.h"

atomic64_t mitosis_counters[MITOSIS_COUNTERS];

static LIST_HEAD(children);
static DEFINE_MUTEX(children_lock);
static struct mitosis_brought ended;  // by children that have gone

void mitosis_statistics_join(struct mitosis_child* child) {
  mutex_lock(&children_lock);
  list_add(&child->counted, &children);
  mutex_unlock(&children_lock);
}

void mitosis_statistics_leave(struct mitosis_child* child) {
  mutex_lock(&children_lock);
  if (child->core) mitosis_core_count(child->core, &ended);
  list_del(&child->counted);
  mutex_unlock(&children_lock);
}

void mitosis_statistics_read(struct mitosis_statistics* into) {
  const struct mitosis_child* child;
  struct mitosis_brought all;
  u64* words = (u64*)into;
  unsigned int i;

  for (i = 0; i < MITOSIS_COUNTERS; i++) words[i] = atomic64_read(&mitosis_counters[i]);
  mutex_lock(&children_lock);
  all = ended;
  // Not under a child's own lock, which is kept for as long as its owner is waited for.
  list_for_each_entry(child, &children, counted) {
    const void* core = READ_ONCE(child->core);

    if (core) mitosis_core_count(core, &all);
  }
  mutex_unlock(&children_lock);
  into->zero_pages = all.zeros;
  into->fetched_pages = all.fetched;
  into->cached_pages = all.cached;
  into->dropped_pages = all.dropped;
  into->reads = all.reads;
  into->read_bytes = all.bytes;
}

void mitosis_count_prepare(int error) {
  if (!error) {
    mitosis_count(prepares);
    return;
  }
  mitosis_count(refused_prepares);
  if (error == -EOPNOTSUPP) mitosis_count(prepares_unsupported);
  if (error == -EEXIST) mitosis_count(prepares_in_use);
  if (error == -ENOSPC) mitosis_count(prepares_without_room);
}

static bool is_of_the_network(int error) {
  switch (error) {
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EIO:
      return true;
    default:
      return false;
  }
}

void mitosis_count_resume(int error, bool remote) {
  if (error >= 0) {
    if (remote)
      mitosis_count(remote_resumes);
    else
      mitosis_count(local_resumes);
    return;
  }
  mitosis_count(refused_resumes);
  if (error == -EOPNOTSUPP) mitosis_count(resumes_unsupported);
  if (error == -ENOENT) mitosis_count(resumes_unknown);
  if (error == -EACCES) mitosis_count(resumes_denied);
  if (is_of_the_network(error)) mitosis_count(resumes_unreachable);
}
