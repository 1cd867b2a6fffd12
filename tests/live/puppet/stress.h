/* SPDX-License-Identifier: MIT */
/* Stress: random operations on the model's areas, each of which checks what it reads. World: user.
 * A wrong byte ends the process (talk.h). */
#ifndef PUPPET_STRESS_H
#define PUPPET_STRESS_H

#include <stdint.h>

/* Runs for about `ms` milliseconds and returns how many operations it did. The same seed does the
 * same operations as far as it gets. */
uint64_t stress(uint64_t seed, int ms);

/* Forks: both sides check (and write) the same pages at the same time; waits for the new process.
 * `count`: pages that each side looks at. */
void fork_both(uint64_t seed, int count);

/* Forks for that long, a few at a time, which look at pages; waits for all, returns how many. */
uint64_t fork_many(uint64_t seed, int milliseconds);

#endif
