// SPDX-License-Identifier: MIT OR GPL-2.0
// What the module has done so far, in numbers. World: kernel.
#include "shim.h"

atomic64_t mitosis_counters[MITOSIS_COUNTERS];

void mitosis_statistics_read(struct mitosis_statistics* into) {
  u64* words = (u64*)into;
  unsigned int i;

  for (i = 0; i < MITOSIS_COUNTERS; i++) words[i] = atomic64_read(&mitosis_counters[i]);
}
