/* SPDX-License-Identifier: MIT */
/* Model: areas of memory whose every page holds bytes that follow from a small record, so that any
 * process that has the records can tell whether it reads what it must. World: user.
 * The records are the process's own memory, hence remote in a child as the pages are: each carries
 * a checksum of itself. */
#ifndef PUPPET_MODEL_H
#define PUPPET_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum { page_size = 4096, max_areas = 24 };

struct page_record {
  uint32_t id;      /* of the bytes: they may move to another address, or be copied */
  uint32_t version; /* counts writes; 0: the page is all zeros */
  uint32_t check;
};

struct area {
  char* at; /* NULL: there is none */
  size_t pages;
  struct page_record* records;
};

extern struct area areas[max_areas];

/* A new area whose pages are in version 0, or the first free entry with `at` NULL if the kernel
 * has no memory. `pages` at a place of the kernel's choice. */
struct area* area_map(size_t pages);

/* Sets a page's record without touching its bytes. */
void record_set(struct area* area, size_t page, uint32_t id, uint32_t version);
/* The record, after a look at its checksum; a wrong one ends the process. */
struct page_record record_of(const struct area* area, size_t page);

/* Fills a buffer of page_size with the bytes of that id and version. */
void page_bytes(void* buffer, uint32_t id, uint32_t version);
/* Compares; a wrong byte ends the process. `where` names it. */
void bytes_check(const void* bytes, struct page_record record, const char* where);

/* Reads a page and checks it. */
void page_check(const struct area* area, size_t page);
/* Writes a page's next version. */
void page_write(struct area* area, size_t page);
/* Checks all pages of all areas; returns how many. */
size_t areas_check(void);

/* Everything else that a process consists of: heap, globals, stack, thread-local data. `probes_set`
 * fills it from `seed`; the check compares. */
void probes_set(uint64_t seed);
void probes_check(void);

/* A generator (splitmix64). */
uint64_t random_next(uint64_t* state);

#endif
