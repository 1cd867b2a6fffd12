/* SPDX-License-Identifier: MIT */
/* See model.h. */
#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "talk.h"

struct area areas[max_areas];

uint64_t random_next(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint32_t check_of(uint32_t id, uint32_t version) {
  uint64_t state = (uint64_t)id << 32 | version;
  return (uint32_t)random_next(&state);
}

static uint64_t word_of(uint32_t id, uint32_t version, size_t word) {
  if (version == 0) return 0;
  const uint64_t first = ((uint64_t)id << 32 | version) * 0x9e3779b97f4a7c15u;
  return (first ^ word * 0xbf58476d1ce4e5b9u) | 1; /* never zero: a lost page shows */
}

void record_set(struct area* area, size_t page, uint32_t id, uint32_t version) {
  area->records[page] = (struct page_record){id, version, check_of(id, version)};
}

struct page_record record_of(const struct area* area, size_t page) {
  const struct page_record record = area->records[page];
  if (record.check != check_of(record.id, record.version)) {
    wrong("record of page %zu of %p", page, (void*)area->at);
  }
  return record;
}

struct area* area_map(size_t pages) {
  static uint32_t next_id = 1;
  struct area* area = areas;
  while (area < areas + max_areas && area->at != NULL) ++area;
  if (area == areas + max_areas) return NULL;
  void* at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  area->records = malloc(pages * sizeof *area->records);
  if (at == MAP_FAILED || area->records == NULL) return area;
  area->at = at;
  area->pages = pages;
  for (size_t i = 0; i < pages; ++i) record_set(area, i, next_id++, 0);
  return area;
}

void page_bytes(void* buffer, uint32_t id, uint32_t version) {
  uint64_t* words = buffer;
  for (size_t i = 0; i < page_size / sizeof *words; ++i) words[i] = word_of(id, version, i);
}

void bytes_check(const void* bytes, struct page_record record, const char* where) {
  const volatile uint64_t* words = bytes;
  for (size_t i = 0; i < page_size / sizeof *words; ++i) {
    const uint64_t found = words[i];
    if (found == word_of(record.id, record.version, i)) continue;
    wrong("%s: %p: id %u version %u: word %zu is %#llx, now %#llx", where, bytes, record.id,
          record.version, i, (unsigned long long)found, (unsigned long long)words[i]);
  }
}

void page_check(const struct area* area, size_t page) {
  bytes_check(area->at + page * page_size, record_of(area, page), "read");
}

void page_write(struct area* area, size_t page) {
  const struct page_record record = record_of(area, page);
  page_bytes(area->at + page * page_size, record.id, record.version + 1);
  record_set(area, page, record.id, record.version + 1);
}

size_t areas_check(void) {
  size_t count = 0;
  for (const struct area* area = areas; area < areas + max_areas; ++area) {
    if (area->at == NULL) continue;
    for (size_t page = 0; page < area->pages; ++page) page_check(area, page);
    count += area->pages;
  }
  return count;
}
