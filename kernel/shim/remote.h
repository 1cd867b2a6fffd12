// SPDX-License-Identifier: MIT OR GPL-2.0
// What the two sides of RDMA say to each other at a connection's begin. World: kernel.
#ifndef MITOSIS_REMOTE_H
#define MITOSIS_REMOTE_H

#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

#include "shim.h"

enum {
  MITOSIS_MAGIC = 0x6d746b31,
  MITOSIS_INDEX_WORDS = PAGE_SIZE / sizeof(u64),
  MITOSIS_DEPTH = 16,      // reads that a peer may have out
  MITOSIS_BATCH = 128,     // pages of one doorbell
  MITOSIS_WAIT_MS = 3000,  // of each step of a connection, and of a batch of reads
};
// No handler: only asks whether somebody listens.
#define MITOSIS_NO_HANDLER (~0ull)

struct mitosis_hello {  // with the connection's request
  u32 magic, reserved;
  u64 handler;
};
struct mitosis_welcome {  // with its acceptance
  u32 magic, rkey;
  u64 index;  // address of the index's first page
  u64 descriptor_bytes, page_count;
};
struct mitosis_refusal {  // with its rejection
  u32 magic;
  s32 error;  // 0: there was nothing to refuse
};

#endif
