// SPDX-License-Identifier: MIT OR GPL-2.0
// A connection on the owner's side: what server.c and connection.c know of it. World: kernel.
#ifndef MITOSIS_CONNECTION_H
#define MITOSIS_CONNECTION_H

#include <linux/list.h>
#include <linux/workqueue.h>

#include "remote.h"

struct mitosis_connection {
  struct list_head entry;
  struct work_struct serve, end;
  bool ending;        // under the connections' lock
  struct mutex lock;  // of its queue pair's end; before the prepared's
  struct rdma_cm_id* id;
  struct ib_cq* cq;
  struct mitosis_prepared* prepared;
  struct mitosis_welcome* welcome;
  struct ib_cqe welcomed;
  struct ib_sge piece;
};

// Of what opens the parent to this hello.
void mitosis_connection_prove(enum mitosis_side side, const struct mitosis_prepared* prepared,
                              const struct mitosis_hello* hello, u8* proof);
// Under the connections' lock, so that no revocation comes in between: makes and accepts it.
int mitosis_connection_accept(struct mitosis_connection* c, const struct mitosis_hello* hello,
                              u8 depth);
// Once it stands: opens what it was made for, and tells the peer how.
void mitosis_connection_serve(struct work_struct* work);
// No read of the peer is served any more when it returns.
void mitosis_connection_stop(struct mitosis_connection* c);
// All but its id, after the stop.
void mitosis_connection_destroy(struct mitosis_connection* c);

#endif
