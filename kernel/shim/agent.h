// SPDX-License-Identifier: MIT OR GPL-2.0
// TCP between machines, in both directions: what agent.c asks, lanes.c reads by, listener.c serves.
// World: kernel.
#ifndef MITOSIS_AGENT_H
#define MITOSIS_AGENT_H

#include <linux/in.h>

#include "shim.h"

enum {
  MITOSIS_CALL_MS = 3000,  // of connecting, and of each call
  MITOSIS_LANE_MS = 3000,  // of a lane's making, and of a batch of reads on it
  MITOSIS_READ_MS = 9000,  // that a read is tried for, on one way after the other
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

// agent.c. 0 or an error; what was fetched is to be freed.
int mitosis_agent_query(const struct sockaddr_in* to, u32 machine, u64 handler, const u8* key,
                        struct mitosis_fetched* into);
int mitosis_agent_renew(const struct sockaddr_in* to, const struct mitosis_owner* owner,
                        mitosis_u64* lease_ms);

#endif
