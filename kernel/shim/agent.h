// SPDX-License-Identifier: MIT OR GPL-2.0
// TCP between machines, in both directions: what agent.c begins, lanes.c reads by, listener.c
// serves. World: kernel.
#ifndef MITOSIS_AGENT_H
#define MITOSIS_AGENT_H

#include <linux/in.h>

#include "shim.h"

enum {
  MITOSIS_CALL_MS = 3000,  // of connecting, and of each call
  MITOSIS_LANE_MS = 3000,  // of a lane's making, and of a batch of reads on it
  MITOSIS_READ_MS = 9000,  // that a read is tried for, on one lane after the other
};

// socket.c. 0 or an error; `ms` is the patience of all that follows, until it is set anew.
int mitosis_socket_connect(const struct sockaddr_in* to, unsigned int ms,
                           struct mitosis_socket** into);
// Of a connection that was accepted, which is its own from now on; null: no memory.
struct mitosis_socket* mitosis_socket_adopt(struct socket* accepted);
// Ends what another thread is waiting for on it.
void mitosis_socket_stop(struct mitosis_socket* socket);
void mitosis_socket_close(struct mitosis_socket* socket);
void mitosis_socket_patience(struct mitosis_socket* socket, unsigned int ms);

// lanes.c: what reads one owner's pages, for all children that share it.
struct mitosis_lane {
  struct mutex lock;
  struct mitosis_owner owner;
  struct sockaddr_in address;
  struct mitosis_socket* socket;  // null: none stands
  mitosis_u64 sequence;
};
void mitosis_lane_close(struct mitosis_lane* lane);
// Reads of that owner's; none is pending afterwards.
void mitosis_lane_read(struct mitosis_lane* lane, struct mitosis_read* reads, u32 count);

#endif
