// SPDX-License-Identifier: MIT OR GPL-2.0
// Reads of pages by the lanes that agents and modules serve, on TCP. World: kernel.
// A lane that breaks, or that does not answer in time, is closed: what comes late is nobody's.
#include "ways.h"

void mitosis_lane_close(struct mitosis_way* way) {
  mitosis_socket_close(way->lane);
  way->lane = NULL;
  way->sequence = 0;
}

static int make(struct mitosis_way* way) {
  int error;

  if (way->lane) return 0;
  error = mitosis_socket_connect(&way->address, MITOSIS_LANE_MS, &way->lane);
  if (!error) error = mitosis_core_greet(way->lane, MITOSIS_DEMAND_READS, way->owner.machine);
  if (!error) mitosis_count(connections);
  return error;
}

int mitosis_lane_read(struct mitosis_way* way, struct mitosis_read* reads, u32 count) {
  int error = make(way);

  if (!error) {
    mitosis_socket_patience(way->lane, MITOSIS_LANE_MS);
    mitosis_count(doorbells);
    error = mitosis_core_read_lane(way->lane, &way->sequence, &way->owner, reads, count);
    if (error) mitosis_count(broken_connections);
  }
  if (error) mitosis_lane_close(way);
  return error;
}
