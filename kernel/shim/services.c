// SPDX-License-Identifier: MIT OR GPL-2.0
// The kernel's memory and clock, for the C++. World: kernel.
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "shim.h"

static unsigned int machine;
module_param(machine, uint, 0444);
MODULE_PARM_DESC(machine, "this machine's id in the cluster (0)");

u32 mitosis_shim_machine(void) {
  return machine;
}

void* mitosis_shim_allocate(mitosis_size bytes) {
  // Objects of other sizes are aligned to 8 only.
  if (bytes != 0 && bytes < PAGE_SIZE) bytes = roundup_pow_of_two(bytes < 16 ? 16 : bytes);
  return kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void mitosis_shim_free(void* memory) {
  kvfree(memory);
}

// Not compound: each page has a count of its own, and one that was inserted outlives the others.
void* mitosis_shim_allocate_pages(mitosis_u64 pages) {
  return alloc_pages_exact(pages << PAGE_SHIFT, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
}

void mitosis_shim_free_pages(void* memory, mitosis_u64 pages) {
  if (memory) free_pages_exact(memory, pages << PAGE_SHIFT);
}

mitosis_u64 mitosis_shim_now(void) {
  return ktime_get_ns();
}
