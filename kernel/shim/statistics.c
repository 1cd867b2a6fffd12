// SPDX-License-Identifier: MIT OR GPL-2.0
// What the module has done so far, in numbers. World: kernel.
#include <linux/list.h>

#include "shim.h"

atomic64_t mitosis_counters[MITOSIS_COUNTERS];

static LIST_HEAD(children);
static DEFINE_MUTEX(children_lock);

void mitosis_statistics_join(struct mitosis_child* child) {
  mutex_lock(&children_lock);
  list_add(&child->counted, &children);
  mutex_unlock(&children_lock);
}

void mitosis_statistics_leave(struct mitosis_child* child) {
  struct mitosis_brought b = {};

  mutex_lock(&children_lock);
  if (child->core) mitosis_core_count(child->core, &b);
  list_del(&child->counted);
  mitosis_count_all(zero_pages, b.zeros);
  mitosis_count_all(fetched_pages, b.fetched);
  mitosis_count_all(cached_pages, b.cached);
  mitosis_count_all(dropped_pages, b.dropped);
  mitosis_count_all(reads, b.reads);
  mitosis_count_all(read_bytes, b.bytes);
  mutex_unlock(&children_lock);
}

void mitosis_statistics_read(struct mitosis_statistics* into) {
  struct mitosis_brought b = {};
  const struct mitosis_child* child;
  u64* words = (u64*)into;
  unsigned int i;

  mutex_lock(&children_lock);
  for (i = 0; i < MITOSIS_COUNTERS; i++) words[i] = atomic64_read(&mitosis_counters[i]);
  // Not under a child's own lock, which is kept for as long as its owner is waited for.
  list_for_each_entry(child, &children, counted) {
    const void* core = READ_ONCE(child->core);

    if (core) mitosis_core_count(core, &b);
  }
  mutex_unlock(&children_lock);
  into->zero_pages += b.zeros;
  into->fetched_pages += b.fetched;
  into->cached_pages += b.cached;
  into->dropped_pages += b.dropped;
  into->reads += b.reads;
  into->read_bytes += b.bytes;
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
