// SPDX-License-Identifier: MIT OR GPL-2.0
// The ways to a parent's pages, one an owner of them: what parent.c makes, ways.c and lanes.c read
// by. World: kernel.
#ifndef MITOSIS_WAYS_H
#define MITOSIS_WAYS_H

#include <linux/in.h>

#include "agent.h"

enum { MITOSIS_MAX_OWNERS = 64 };
struct mitosis_remote;

// For all children that share the parent. What is told of it does not change once it is made.
struct mitosis_way {
  struct mitosis_owner owner;
  struct mitosis_prepared* prepared;  // with a reference: it is on this machine; null: elsewhere
  struct sockaddr_in address;
  bool by_rdma;  // first, as modules are read; else over TCP alone

  struct mutex lock;  // of all below: one batch at a time
  bool ended;         // the owner's parent has: nothing will ever be read
  bool failed;        // once, and when the last time, in jiffies
  unsigned long failed_at;
  struct mitosis_remote* rdma;  // null: none stands, and it is not made anew before `rdma_at`
  unsigned long rdma_at;
  unsigned int rdma_pause_ms;
  struct mitosis_socket* lane;  // over TCP; null: none stands
  mitosis_u64 sequence;

  struct delayed_work renewal;  // of its lease, where it has one
  mitosis_u64 lease_ms;
};

struct mitosis_parent {
  struct kref references;
  atomic_long_t children;
  struct work_struct end;
  const void* descriptor;
  u64 bytes;
  void* memory;  // the descriptor's own; null: a prepared parent of this machine has it
  u32 way_count;
  struct mitosis_way* ways;  // by the descriptor's owners
};

// ways.c: the results are in the reads; none is pending afterwards. `since`: as parent.c's.
void mitosis_way_read(struct mitosis_way* way, struct mitosis_read* reads, u32 count,
                      unsigned long since);
void mitosis_way_rest(struct mitosis_way* way);  // what is read next makes its connection anew
void mitosis_way_close(struct mitosis_way* way);

// lanes.c: once. 0, or an error, after which some are pending and no lane stands.
int mitosis_lane_read(struct mitosis_way* way, struct mitosis_read* reads, u32 count);
void mitosis_lane_close(struct mitosis_way* way);

#endif
