// SPDX-License-Identifier: MIT OR GPL-2.0
// One connection on the owner's side: its begin, what the peer is told, its end. World: kernel.
// The peer reads its parent's descriptor and pages by itself, by the keys that it is welcomed with.
#include "connection.h"

// No read of the peer is served any more when this returns.
void mitosis_connection_stop(struct mitosis_connection* c) {
  mutex_lock(&c->lock);
  if (c->id->qp) {
    rdma_disconnect(c->id);
    rdma_destroy_qp(c->id);
  }
  mutex_unlock(&c->lock);
}

// All but its id.
void mitosis_connection_destroy(struct mitosis_connection* c) {
  if (c->cq) ib_free_cq(c->cq);
  if (c->piece.length)
    ib_dma_unmap_single(c->id->device, c->piece.addr, c->piece.length, DMA_TO_DEVICE);
  mitosis_free(c->welcome);
  mitosis_prepared_put(c->prepared);
  mitosis_free(c);
}

static void on_welcomed(struct ib_cq* cq, struct ib_wc* wc) {
  if (wc->status != IB_WC_SUCCESS && wc->status != IB_WC_WR_FLUSH_ERR)
    pr_notice_ratelimited("a peer was not told its keys: %s\n", ib_wc_status_msg(wc->status));
}

// The connection stands: what it was made for is opened, and the peer told how.
void mitosis_connection_serve(struct work_struct* work) {
  struct mitosis_connection* c = container_of(work, struct mitosis_connection, serve);
  const struct ib_send_wr* bad;
  struct ib_send_wr request = {
      .wr_cqe = &c->welcomed,
      .sg_list = &c->piece,
      .num_sge = 1,
      .opcode = IB_WR_SEND,
      .send_flags = IB_SEND_SIGNALED,
  };
  int error;

  mutex_lock(&c->lock);
  if (c->id->qp) {
    down_write(&c->prepared->lock);
    error = mitosis_export_grant(c->prepared, c->id->qp);
    if (!error) mitosis_export_tell(c->prepared, c->welcome);
    up_write(&c->prepared->lock);
    if (error)
      pr_notice_ratelimited("handler %llu cannot be opened to a peer: error %d\n",
                            c->prepared->handler, error);
    c->welcome->error = error;
    ib_dma_sync_single_for_device(c->id->device, c->piece.addr, c->piece.length, DMA_TO_DEVICE);
    c->welcomed.done = on_welcomed;
    ib_post_send(c->id->qp, &request, &bad);
  }
  mutex_unlock(&c->lock);
}

static int make_queue_pair(struct mitosis_connection* c, struct ib_pd* pd) {
  struct ib_qp_init_attr attributes = {
      .cap = {.max_send_wr = MITOSIS_REGISTER_BATCH + 2,  // the welcome; the end of a drain
              .max_recv_wr = 1,
              .max_send_sge = 1,
              .max_recv_sge = 1},
      .qp_type = IB_QPT_RC,
      .sq_sig_type = IB_SIGNAL_REQ_WR,
  };

  c->cq = ib_alloc_cq(c->id->device, c, MITOSIS_REGISTER_BATCH + 4, 0, IB_POLL_WORKQUEUE);
  if (IS_ERR(c->cq)) {
    c->cq = NULL;
    return -ENOMEM;
  }
  attributes.send_cq = attributes.recv_cq = c->cq;
  return rdma_create_qp(c->id, pd, &attributes);
}

void mitosis_connection_prove(enum mitosis_side side, const struct mitosis_prepared* p,
                              const struct mitosis_hello* hello, u8* proof) {
  u8 target[MITOSIS_KEY_BYTES];

  mitosis_target_key(p->identity.target_key, p->generation, target);
  if (hello->by == MITOSIS_BY_TARGET)
    mitosis_prove_handler(side, hello, target, proof);
  else
    mitosis_prove_handler(side, hello, p->keyed ? p->key : NULL, proof);
}

static int make_welcome(struct mitosis_connection* c, const struct mitosis_hello* hello) {
  u64 address;

  c->welcome = mitosis_zalloc(PAGE_SIZE);
  if (!c->welcome) return -ENOMEM;
  c->welcome->magic = MITOSIS_MAGIC;
  mitosis_connection_prove(MITOSIS_OWNER, c->prepared, hello, c->welcome->proof);
  address = ib_dma_map_single(c->id->device, c->welcome, sizeof(*c->welcome), DMA_TO_DEVICE);
  if (ib_dma_mapping_error(c->id->device, address)) return -ENOMEM;
  c->piece = (struct ib_sge){address, sizeof(*c->welcome), 0};
  return 0;
}

// Under the connections' lock: no revocation between the look and the entry in the list.
int mitosis_connection_accept(struct mitosis_connection* c, const struct mitosis_hello* hello,
                              u8 depth) {
  struct mitosis_prepared* p = c->prepared;
  struct rdma_conn_param parameters = {
      .responder_resources = min_t(u8, depth, MITOSIS_DEPTH),
      .retry_count = 5,
      .rnr_retry_count = 5,
  };
  struct ib_pd* pd = NULL;
  int error = make_welcome(c, hello);

  if (error) return error;
  down_write(&p->lock);
  error = p->revoked ? -ENOENT : mitosis_export_open(p, c->id->device);
  if (!error) pd = mitosis_export_pd(p);  // stays: who drops it has taken our lock
  up_write(&p->lock);
  if (!error) {
    c->piece.lkey = pd->local_dma_lkey;
    error = make_queue_pair(c, pd);
  }
  if (!error) error = rdma_accept(c->id, &parameters);
  if (error && c->id->qp) rdma_destroy_qp(c->id);
  return error;
}
