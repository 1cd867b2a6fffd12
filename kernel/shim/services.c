// SPDX-License-Identifier: MIT OR GPL-2.0
// The kernel's memory and clock, for the C++; memory and signals for the shim. World: kernel.
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stacktrace.h>
#include <linux/vmalloc.h>

#include "shim.h"

static unsigned int machine;
module_param(machine, uint, 0444);
MODULE_PARM_DESC(machine, "this machine's id in the cluster (0)");

u32 mitosis_shim_machine(void) {
  return machine;
}

// -- failing on purpose --------------------------------------------------------------------------

// A site is a place in the code as it was come to: some callers deep.
enum { MAX_SITES = 512, DEPTH = 4 };
struct site {
  unsigned long callers[DEPTH];
};

static DEFINE_SPINLOCK(sites_lock);
static struct site* sites;  // those that were met; null: none is to fail
static int fail_at, site_count;

static int set_fail_at(const char* text, const struct kernel_param* parameter) {
  struct site *room = NULL, *old;
  int value, error = kstrtoint(text, 0, &value);

  if (error) return error;
  if (value > 0) {
    room = kvcalloc(MAX_SITES, sizeof(*room), GFP_KERNEL);
    if (!room) return -ENOMEM;
  }
  spin_lock(&sites_lock);
  old = sites;
  sites = room;
  fail_at = value;
  site_count = 0;
  spin_unlock(&sites_lock);
  kvfree(old);
  return 0;
}
static int get_fail_at(char* into, const struct kernel_param* parameter) {
  return sprintf(into, "%d\n", READ_ONCE(site_count));
}
static void free_sites(void* unused) {
  kvfree(sites);
}
static const struct kernel_param_ops fail_operations = {
    .set = set_fail_at, .get = get_fail_at, .free = free_sites};
module_param_cb(test_fail_at, &fail_operations, &fail_at, 0600);
MODULE_PARM_DESC(test_fail_at,
                 "for tests: from now on the n-th different site's first allocation fails (0: "
                 "none, and none is counted); reads as how many sites there were");

// Whether it is a new one, and the one that is to fail.
static bool meet(const struct site* site) {
  int i;

  if (!sites) return false;
  for (i = 0; i < site_count; i++) {
    if (memcmp(&sites[i], site, sizeof(*site)) == 0) return false;
  }
  if (site_count == MAX_SITES) return false;
  sites[site_count++] = *site;
  return site_count == fail_at;
}

bool mitosis_fails(void) {
  struct site site = {};
  bool fails;

  if (likely(!READ_ONCE(sites))) return false;
  stack_trace_save(site.callers, DEPTH, 1);
  spin_lock(&sites_lock);
  fails = meet(&site);
  spin_unlock(&sites_lock);
  return fails;
}

// -- memory --------------------------------------------------------------------------------------

void* mitosis_zalloc(size_t bytes) {
  return mitosis_fails() ? NULL : kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
}
void* mitosis_zalloc_virtual(size_t bytes) {
  return mitosis_fails() ? NULL : __vmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}
void mitosis_free(void* memory) {
  kvfree(memory);
}

void* mitosis_shim_allocate(mitosis_size bytes) {
  // Objects of other sizes are aligned to 8 only.
  if (bytes != 0 && bytes < PAGE_SIZE) bytes = roundup_pow_of_two(bytes < 16 ? 16 : bytes);
  return mitosis_fails() ? NULL : kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void mitosis_shim_free(void* memory) {
  kvfree(memory);
}

// Not compound: each page has a count of its own, and one that was inserted outlives the others.
void* mitosis_shim_allocate_pages(mitosis_u64 pages) {
  if (mitosis_fails()) return NULL;
  return alloc_pages_exact(pages << PAGE_SHIFT, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
}

void mitosis_shim_free_pages(void* memory, mitosis_u64 pages) {
  if (memory) free_pages_exact(memory, pages << PAGE_SHIFT);
}

mitosis_u64 mitosis_shim_now(void) {
  return ktime_get_ns();
}

// -- signals -------------------------------------------------------------------------------------

void mitosis_signals_block(sigset_t* before) {
  sigset_t all_but_the_end;

  siginitsetinv(&all_but_the_end, sigmask(SIGKILL));
  sigprocmask(SIG_BLOCK, &all_but_the_end, before);
}
void mitosis_signals_restore(const sigset_t* before) {
  sigset_t mask = *before;

  sigprocmask(SIG_SETMASK, &mask, NULL);
}
