// SPDX-License-Identifier: MIT OR GPL-2.0
// How an owner's pages are read: on this machine, by RDMA, over TCP. World: kernel.
// Between modules RDMA comes first. A connection that breaks is made anew; where that cannot be,
// the owner's module is asked over TCP, and RDMA tried again later. All of it until a read's time
// is over: reading twice does no harm. What the owner says of its parent's end is final.
#include <linux/err.h>
#include <linux/sched/signal.h>

#include "ways.h"

enum {
  PAUSE_MS = 100,        // between attempts
  RDMA_PAUSE_MS = 1000,  // after one by RDMA that failed, twice as long after each further one
  MAX_RDMA_PAUSE_MS = 60000,
};

// -- by RDMA -------------------------------------------------------------------------------------

static void close_rdma(struct mitosis_way* way) {
  mitosis_remote_close(way->rdma);
  way->rdma = NULL;
}

// -EAGAIN: not now.
static int put_off(struct mitosis_way* way) {
  way->rdma_pause_ms =
      clamp_t(unsigned int, 2 * way->rdma_pause_ms, RDMA_PAUSE_MS, MAX_RDMA_PAUSE_MS);
  way->rdma_at = jiffies + msecs_to_jiffies(way->rdma_pause_ms);
  return -EAGAIN;
}

// A new connection, new proofs, new keys; as read_by_rdma.
static int make_rdma(struct mitosis_way* way) {
  struct mitosis_remote* made;
  int error;

  if (way->rdma) return 0;
  if (time_before(jiffies, way->rdma_at)) return -EAGAIN;
  made = mitosis_remote_reach(&way->address, &way->owner);
  error = PTR_ERR_OR_ZERO(made);
  if (!error) {
    way->rdma = made;
    return 0;
  }
  // A refusal is nobody's word: over TCP the owner proves itself.
  if (error == -ESTALE || error == -EINTR) return error;
  mitosis_refuse("machine %u cannot be read by RDMA: error %d\n", way->owner.machine, error);
  return put_off(way);
}

// 0; -EAGAIN: not now; else what no other attempt changes.
static int read_by_rdma(struct mitosis_way* way, const struct mitosis_read* reads, u32 count) {
  int attempt, error;

  for (attempt = 0; attempt < 2; attempt++) {
    error = make_rdma(way);
    if (error) return error;
    error = mitosis_remote_read(way->rdma, reads, count);
    if (!error) way->rdma_pause_ms = 0;
    if (!error || error == -EINVAL || error == -EINTR) return error;
    close_rdma(way);
  }
  return put_off(way);
}

// -- all ways ------------------------------------------------------------------------------------

static bool is_final(const struct mitosis_way* way, int error) {
  if (error == -ECONNREFUSED) return way->by_rdma;  // the module has gone; an agent comes back
  return error == -EACCES || error == -EPROTO || error == -EINVAL || error == -EINTR;
}

static int read_all(struct mitosis_way* way, struct mitosis_read* reads, u32 count) {
  const unsigned long end = jiffies + msecs_to_jiffies(MITOSIS_READ_MS);
  sigset_t before;
  u32 i;
  int error;

  for (;;) {
    if (way->by_rdma) {
      error = read_by_rdma(way, reads, count);
      for (i = 0; !error && i < count; i++) reads[i].result = 0;
      if (error != -EAGAIN) return error;
    }
    if (way->by_rdma) mitosis_count(fallback_reads);
    mitosis_signals_block(&before);
    error = mitosis_lane_read(way, reads, count);
    mitosis_signals_restore(&before);
    if (!error || is_final(way, error) || time_after(jiffies, end)) return error;
    if (fatal_signal_pending(current)) return -EINTR;
    schedule_timeout_uninterruptible(msecs_to_jiffies(PAUSE_MS));
  }
}

// Under the lock.
static int read_in_turn(struct mitosis_way* way, struct mitosis_read* reads, u32 count,
                        unsigned long since) {
  int error;
  u32 i;

  if (way->ended) return -ESTALE;
  // Who has waited while another tried in vain has waited long enough.
  if (way->failed && time_after_eq(way->failed_at, since)) return -ETIMEDOUT;
  error = read_all(way, reads, count);
  way->ended = error == -ESTALE;
  for (i = 0; !error && i < count; i++) way->ended |= reads[i].result == -ESTALE;
  if (error && error != -EINTR && error != -EINVAL) {
    way->failed = true;
    way->failed_at = jiffies;
  }
  return error;
}

void mitosis_way_read(struct mitosis_way* way, struct mitosis_read* reads, u32 count,
                      unsigned long since) {
  int error;
  u32 i;

  if (way->prepared) {
    mitosis_prepared_read(way->prepared, reads, count);
    return;
  }
  error = mutex_lock_killable(&way->lock);
  if (!error) {
    error = read_in_turn(way, reads, count, since);
    mutex_unlock(&way->lock);
  }
  for (i = 0; i < count; i++) {
    if (reads[i].result == MITOSIS_PENDING) reads[i].result = error;
  }
}

void mitosis_way_rest(struct mitosis_way* way) {
  mutex_lock(&way->lock);
  close_rdma(way);
  mitosis_lane_close(way);
  mutex_unlock(&way->lock);
}

void mitosis_way_close(struct mitosis_way* way) {
  close_rdma(way);
  mitosis_lane_close(way);
  mitosis_prepared_put(way->prepared);
}
