// SPDX-License-Identifier: MIT OR GPL-2.0
// The profile of a module with Profile<On>: /sys/kernel/debug/mitosis/profile. World: kernel.
// One line a step: how many, their mean, and for each power of two of ns with any how many.
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/seq_file.h>

#include "shim.h"

static LIST_HEAD(children);
static DEFINE_MUTEX(profile_lock);  // before a child's
static struct mitosis_profile ended;
typedef typeof(ended.steps[0]) mitosis_step;
static mitosis_step calls[MITOSIS_CALL_STEPS];
static struct dentry* folder;

void mitosis_profile_join(struct mitosis_child* child) {
  INIT_LIST_HEAD(&child->profile);
  if (!mitosis_core_profiled()) return;
  mutex_lock(&profile_lock);
  list_add(&child->profile, &children);
  mutex_unlock(&profile_lock);
}

// Nobody else has it any more.
void mitosis_profile_leave(struct mitosis_child* child) {
  if (!mitosis_core_profiled()) return;
  mutex_lock(&profile_lock);
  if (child->core) mitosis_core_profile(child->core, &ended);
  list_del(&child->profile);
  mutex_unlock(&profile_lock);
}

void mitosis_profile_call(enum mitosis_call_step step, u64 begun) {
  const u64 took = mitosis_shim_now() - begun;

  if (!mitosis_core_profiled()) return;
  mutex_lock(&profile_lock);
  calls[step].counts[min(fls64(took), MITOSIS_BUCKETS - 1)]++;
  calls[step].count++;
  calls[step].total_ns += took;
  mutex_unlock(&profile_lock);
}

static void show_step(struct seq_file* file, const char* name, const mitosis_step* step) {
  const u64 count = step->count;
  unsigned int i;

  seq_printf(file, "%s count=%llu mean_ns=%llu", name, count,
             count ? div64_u64(step->total_ns, count) : 0);
  for (i = 0; i < MITOSIS_BUCKETS; i++) {
    if (step->counts[i]) seq_printf(file, " <%llu:%lu", 1ull << i, step->counts[i]);
  }
  seq_putc(file, '\n');
}

static int profile_show(struct seq_file* file, void* unused) {
  static const char* const names[MITOSIS_STEPS] = {"plan", "read", "fallback", "install", "fault"};
  static const char* const call_names[MITOSIS_CALL_STEPS] = {"prepare_memory", "prepare_descriptor",
                                                             "resume_connect", "resume_memory"};
  struct mitosis_profile* all = mitosis_zalloc(sizeof(*all));
  struct mitosis_child* child;
  unsigned int i;

  if (!all) return -ENOMEM;
  mutex_lock(&profile_lock);
  *all = ended;
  list_for_each_entry(child, &children, profile) {
    mutex_lock(child->lock);
    if (child->core) mitosis_core_profile(child->core, all);
    mutex_unlock(child->lock);
  }
  for (i = 0; i < MITOSIS_CALL_STEPS; i++) show_step(file, call_names[i], &calls[i]);
  mutex_unlock(&profile_lock);
  for (i = 0; i < MITOSIS_STEPS; i++) show_step(file, names[i], &all->steps[i]);
  mitosis_free(all);
  return 0;
}
DEFINE_SHOW_ATTRIBUTE(profile);

void mitosis_profile_begin(void) {
  if (!mitosis_core_profiled()) return;
  folder = debugfs_create_dir("mitosis", NULL);
  debugfs_create_file("profile", 0400, folder, NULL, &profile_fops);
}

void mitosis_profile_end(void) {
  debugfs_remove(folder);
}
