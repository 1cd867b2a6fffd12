/* SPDX-License-Identifier: MIT */
/* The stress program's operations, each on a random area. World: user. */
#ifndef PUPPET_OPERATIONS_H
#define PUPPET_OPERATIONS_H

#include <stdint.h>

#include "model.h"

/* An area that has pages; there must be one. */
struct area* area_any(uint64_t* random);

/* remap.c: what changes the address space. */
void drop(uint64_t* random);           /* MADV_DONTNEED, MADV_FREE: zeros */
void anew(uint64_t* random);           /* munmap and mmap, or mmap over it: zeros */
void grow_or_shrink(uint64_t* random); /* mremap; what is new is zero */
void move(uint64_t* random);           /* mremap to another address */
void move_and_back(uint64_t* random);  /* the same for some pages, there and back */
void protect(uint64_t* random);        /* PROT_NONE or PROT_READ, and back */
void lock(uint64_t* random);           /* mlock, munlock */

/* kernel_io.c: the kernel reads and writes pages that are not there yet. */
void through_kernel(uint64_t* random);

/* tasks.c: several at once. */
void threads_both(uint64_t* random); /* three threads that fault on the same pages */
void spawn_other(uint64_t* random);  /* now and then a posix_spawn: a vfork, whose memory is ours */

#endif
