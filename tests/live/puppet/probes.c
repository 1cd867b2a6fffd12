/* SPDX-License-Identifier: MIT */
/* Probes: data where a process keeps it beside mappings of its own. See model.h. */
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "talk.h"

enum { words = 2048, blocks = 64 };

static uint64_t in_bss[words];
static uint64_t in_data[words] = {1, 2, 3};
static __thread uint64_t in_tls[64];
static uint64_t* in_heap[blocks];
static uint64_t kept_seed;

static void fill(uint64_t* at, size_t count, uint64_t seed) {
  for (size_t i = 0; i < count; ++i) at[i] = random_next(&seed);
}

static void check(const uint64_t* at, size_t count, uint64_t seed, const char* where) {
  for (size_t i = 0; i < count; ++i) {
    if (at[i] != random_next(&seed)) wrong("%s: word %zu", where, i);
  }
}

/* Blocks of all sizes, so that they come from the heap as well as from mappings. */
static size_t block_words(size_t block) {
  return block % 8 == 0 ? 40000 : 16 + block * 7;
}

void probes_set(uint64_t seed) {
  kept_seed = seed;
  fill(in_bss, words, seed + 1);
  fill(in_data, words, seed + 2);
  fill(in_tls, 64, seed + 3);
  for (size_t i = 0; i < blocks; ++i) {
    free(in_heap[i]);
    in_heap[i] = malloc(block_words(i) * sizeof(uint64_t));
    if (in_heap[i] != NULL) fill(in_heap[i], block_words(i), seed + 100 + i);
  }
}

void probes_check(void) {
  check(in_bss, words, kept_seed + 1, "bss");
  check(in_data, words, kept_seed + 2, "data");
  check(in_tls, 64, kept_seed + 3, "thread-local");
  for (size_t i = 0; i < blocks; ++i) {
    if (in_heap[i] != NULL) check(in_heap[i], block_words(i), kept_seed + 100 + i, "heap");
  }
}
