// SPDX-License-Identifier: MIT OR GPL-2.0
// A connection to another machine's prepared parent: what client.c begins, reads.c reads by.
// World: kernel. Its one user at a time is a way's (ways.h).
#ifndef MITOSIS_CLIENT_H
#define MITOSIS_CLIENT_H

#include <linux/completion.h>

#include "remote.h"

struct mitosis_remote {
  struct rdma_cm_id* id;
  struct ib_pd* pd;
  struct ib_cq* cq;
  struct completion stepped;  // the connection's begin has come one step on
  unsigned long end;          // of its begin, in jiffies
  int error;
  bool broken;  // nothing is read any more

  struct mitosis_hello hello;
  bool challenged;  // hello has a challenge
  struct mitosis_welcome* welcome;
  struct completion welcomed;
  int welcome_error;
  struct ib_sge welcome_piece;
  struct ib_cqe welcome_done;

  void* blob;                         // the descriptor, where it was asked for; null: taken
  const struct mitosis_piece* table;  // in the blob: of the owner's pages
  struct ib_cqe read_done;
  struct completion read;
  int read_error;
  struct ib_rdma_wr requests[MITOSIS_BATCH];
  struct ib_sge pieces[MITOSIS_BATCH];
};

// reads.c: the table, and the descriptor where it opened with a key, once the welcome is there.
int mitosis_remote_fetch(struct mitosis_remote* r);
void mitosis_remote_on_read(struct ib_cq* cq, struct ib_wc* wc);
// client.c: nothing is written into this machine's memory any more.
void mitosis_remote_stop(struct mitosis_remote* r);

#endif
