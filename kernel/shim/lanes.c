// SPDX-License-Identifier: MIT OR GPL-2.0
// Reads of pages by the lanes that agents serve, on TCP. World: kernel.
// A lane that breaks, or that does not answer in time, is made anew until a read's time is over:
// reading twice does no harm.
#include <linux/sched/signal.h>

#include "agent.h"

enum { PAUSE_MS = 100 };

void mitosis_lane_close(struct mitosis_lane* lane) {
  mitosis_socket_close(lane->socket);
  lane->socket = NULL;
  lane->sequence = 0;
}

static int make(struct mitosis_lane* lane) {
  int error;

  if (lane->socket) return 0;
  error = mitosis_socket_connect(&lane->address, MITOSIS_LANE_MS, &lane->socket);
  if (!error) error = mitosis_core_greet(lane->socket, MITOSIS_DEMAND_READS, lane->owner.machine);
  return error;
}

static int attempt(struct mitosis_lane* lane, struct mitosis_read* reads, u32 count) {
  int error = make(lane);

  if (!error) {
    mitosis_socket_patience(lane->socket, MITOSIS_LANE_MS);
    mitosis_count(doorbells);
    error = mitosis_core_read_lane(lane->socket, &lane->sequence, &lane->owner, reads, count);
  }
  if (error) mitosis_lane_close(lane);  // what comes late is nobody's
  return error;
}

// Whether another lane may do better.
static bool is_worth_it(int error) {
  return error != -EACCES && error != -EPROTO && error != -EINVAL && error != -EINTR;
}

static int read_all(struct mitosis_lane* lane, struct mitosis_read* reads, u32 count) {
  const unsigned long end = jiffies + msecs_to_jiffies(MITOSIS_READ_MS);
  int error;

  for (;;) {
    error = attempt(lane, reads, count);
    if (!error || !is_worth_it(error) || time_after(jiffies, end)) return error;
    if (fatal_signal_pending(current)) return -EINTR;
    schedule_timeout_uninterruptible(msecs_to_jiffies(PAUSE_MS));
  }
}

void mitosis_lane_read(struct mitosis_lane* lane, struct mitosis_read* reads, u32 count) {
  int error = mutex_lock_killable(&lane->lock);
  sigset_t before;
  u32 i;

  if (!error) {
    mitosis_signals_block(&before);
    error = read_all(lane, reads, count);
    mitosis_signals_restore(&before);
    mutex_unlock(&lane->lock);
  }
  for (i = 0; i < count; i++) {
    if (reads[i].result == MITOSIS_PENDING) reads[i].result = error;
  }
}
