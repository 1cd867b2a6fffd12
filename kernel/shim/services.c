// SPDX-License-Identifier: MIT OR GPL-2.0
// The kernel's memory and clock, for the C++, and memory for the shim. World: kernel.
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "shim.h"

static unsigned int machine;
module_param(machine, uint, 0444);
MODULE_PARM_DESC(machine, "this machine's id in the cluster (0)");

u32 mitosis_shim_machine(void) {
  return machine;
}

// -- failing on purpose --------------------------------------------------------------------------

static atomic_t sites = ATOMIC_INIT(0);
static int fail_at;

static int set_fail_at(const char* text, const struct kernel_param* parameter) {
  int error = param_set_int(text, parameter);

  atomic_set(&sites, 0);
  return error;
}
static int get_fail_at(char* into, const struct kernel_param* parameter) {
  return sprintf(into, "%d\n", atomic_read(&sites));
}
static const struct kernel_param_ops fail_operations = {.set = set_fail_at, .get = get_fail_at};
module_param_cb(test_fail_at, &fail_operations, &fail_at, 0600);
MODULE_PARM_DESC(test_fail_at,
                 "for tests: from now on the n-th allocation fails (0: none, and "
                 "none is counted); reads as how many there were");

bool mitosis_fails(void) {
  return unlikely(READ_ONCE(fail_at) > 0 && atomic_inc_return(&sites) == READ_ONCE(fail_at));
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
