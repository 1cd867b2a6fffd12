// SPDX-License-Identifier: MIT OR GPL-2.0
// The child's side of RDMA: the begin and the end of a connection to the owner of its pages.
// World: kernel. Every wait has an end: an owner that is gone is told of in seconds.
// A first attempt brings the owner's challenge, the second one answers it.
#include <linux/in.h>
#include <linux/irq_poll.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <net/net_namespace.h>

#include "client.h"

enum { CONNECT_MS = 8 * MITOSIS_WAIT_MS };  // each step has its own end too

static int refusal_of(struct mitosis_remote* r, const struct rdma_cm_event* event) {
  const struct mitosis_refusal* refusal = event->param.conn.private_data;

  if (!refusal || event->param.conn.private_data_len < sizeof(*refusal) ||
      refusal->magic != MITOSIS_MAGIC)
    return -ECONNREFUSED;
  if (refusal->error == -EAGAIN && !r->challenged) {
    r->hello.challenge = refusal->challenge;
    r->challenged = true;
    return -EAGAIN;
  }
  // Who refuses has proven nothing, so it cannot say that what was asked for has ended (-ESTALE).
  if (refusal->error == -EAGAIN || refusal->error == -ESTALE || refusal->error == -EINTR ||
      refusal->error > 0 || refusal->error < -MAX_ERRNO)
    return -EPROTO;
  return refusal->error ? refusal->error : -EISCONN;  // who only asks is told so
}

static int on_event(struct rdma_cm_id* id, struct rdma_cm_event* event) {
  struct mitosis_remote* r = id->context;

  switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
    case RDMA_CM_EVENT_ESTABLISHED:
      break;
    case RDMA_CM_EVENT_REJECTED:
      r->error = refusal_of(r, event);
      break;
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      WRITE_ONCE(r->broken, true);
      return 0;
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
      return 0;
    default:
      r->error = event->status < 0 ? event->status : -EHOSTUNREACH;
  }
  complete(&r->stepped);
  return 0;
}

// What the step that was begun has come to.
static int wait_for(struct mitosis_remote* r, struct completion* end, const int* error) {
  const long most = min_t(long, msecs_to_jiffies(MITOSIS_WAIT_MS), (long)(r->end - jiffies));
  long left = most > 0 ? wait_for_completion_killable_timeout(end, most) : 0;

  if (left < 0) return -EINTR;
  return left == 0 ? -ETIMEDOUT : READ_ONCE(*error);
}
static int step(struct mitosis_remote* r, int begun) {
  return begun ? begun : wait_for(r, &r->stepped, &r->error);
}

static void on_welcome(struct ib_cq* cq, struct ib_wc* wc) {
  struct mitosis_remote* r = container_of(wc->wr_cqe, struct mitosis_remote, welcome_done);

  if (wc->status != IB_WC_SUCCESS)
    r->welcome_error = -ECONNRESET;
  else if (wc->byte_len < sizeof(*r->welcome))
    r->welcome_error = -EPROTO;
  complete(&r->welcomed);
}

// Where the welcome shall land, before the owner can send it.
static int expect_welcome(struct mitosis_remote* r) {
  struct ib_recv_wr request = {
      .wr_cqe = &r->welcome_done, .sg_list = &r->welcome_piece, .num_sge = 1};
  const struct ib_recv_wr* bad;
  u64 address;

  r->welcome = mitosis_zalloc(PAGE_SIZE);
  if (!r->welcome) return -ENOMEM;
  address = ib_dma_map_single(r->id->device, r->welcome, sizeof(*r->welcome), DMA_FROM_DEVICE);
  if (ib_dma_mapping_error(r->id->device, address)) return -ENOMEM;
  r->welcome_piece = (struct ib_sge){address, sizeof(*r->welcome), r->pd->local_dma_lkey};
  r->welcome_done.done = on_welcome;
  return ib_post_recv(r->id->qp, &request, &bad);
}

static int make_queue_pair(struct mitosis_remote* r) {
  struct ib_qp_init_attr attributes = {
      .cap = {.max_send_wr = MITOSIS_BATCH, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
      .qp_type = IB_QPT_RC,
      .sq_sig_type = IB_SIGNAL_REQ_WR,
  };
  int error;

  r->pd = ib_alloc_pd(r->id->device, 0);
  if (IS_ERR(r->pd)) {
    r->pd = NULL;
    return -ENOMEM;
  }
  r->cq = ib_alloc_cq(r->id->device, r, MITOSIS_BATCH + 2, 0, IB_POLL_SOFTIRQ);
  if (IS_ERR(r->cq)) {
    r->cq = NULL;
    return -ENOMEM;
  }
  attributes.send_cq = attributes.recv_cq = r->cq;
  error = rdma_create_qp(r->id, r->pd, &attributes);
  return error ? error : expect_welcome(r);
}

static int attempt(struct mitosis_remote* r, const struct sockaddr_in* to) {
  struct rdma_conn_param parameters = {
      .private_data = &r->hello,
      .private_data_len = sizeof(r->hello),
      .initiator_depth = MITOSIS_DEPTH,
      .retry_count = 5,  // 7 is for ever
      .rnr_retry_count = 5,
  };
  int error;

  r->error = 0;
  reinit_completion(&r->stepped);
  r->id = rdma_create_id(&init_net, on_event, r, RDMA_PS_TCP, IB_QPT_RC);
  if (IS_ERR(r->id)) {
    error = PTR_ERR(r->id);
    r->id = NULL;
    return error;
  }
  error = step(r, rdma_resolve_addr(r->id, NULL, (struct sockaddr*)to, MITOSIS_WAIT_MS));
  if (!error) error = step(r, rdma_resolve_route(r->id, MITOSIS_WAIT_MS));
  // The first attempt needs no queue pair: it is refused.
  if (!error && r->challenged) error = make_queue_pair(r);
  if (!error) error = rdma_set_ack_timeout(r->id, 16);  // 0.27 s each
  if (!error) error = step(r, rdma_connect(r->id, &parameters));
  return error;
}

// The owner's welcome, which proves that it is one.
static int be_welcomed(struct mitosis_remote* r, const u8* key) {
  struct mitosis_welcome* w = r->welcome;
  u8 right[MITOSIS_PROOF_BYTES];
  int error = wait_for(r, &r->welcomed, &r->welcome_error);

  if (error) return error;
  ib_dma_sync_single_for_cpu(r->id->device, r->welcome_piece.addr, sizeof(*w), DMA_FROM_DEVICE);
  mitosis_prove_handler(MITOSIS_OWNER, &r->hello, key, right);
  if (w->magic != MITOSIS_MAGIC || !mitosis_is_proof(w->proof, right)) return -EPROTO;
  if (w->error == -ENOENT && r->hello.by == MITOSIS_BY_TARGET) return -ESTALE;
  if (w->error) return w->error < 0 && w->error >= -MAX_ERRNO ? w->error : -EPROTO;
  return 0;
}

static int connect(struct mitosis_remote* r, const struct sockaddr_in* to, u32 by, u64 handler,
                   const u8* key) {
  int error;

  r->hello = (struct mitosis_hello){.magic = MITOSIS_MAGIC, .by = by, .handler = handler};
  get_random_bytes(&r->hello.nonce, sizeof(r->hello.nonce));
  error = attempt(r, to);
  if (error != -EAGAIN || !r->challenged) return error ? error : -EPROTO;
  rdma_destroy_id(r->id);
  r->id = NULL;
  mitosis_prove_machine(&r->hello, r->hello.machine_proof);
  mitosis_prove_handler(MITOSIS_PEER, &r->hello, key, r->hello.handler_proof);
  error = attempt(r, to);
  return error ? error : be_welcomed(r, key);
}

// -- its end -------------------------------------------------------------------------------------

void mitosis_remote_stop(struct mitosis_remote* r) {
  r->broken = true;
  if (!r->id || !r->id->qp) return;
  rdma_disconnect(r->id);
  rdma_destroy_qp(r->id);
}

// The queue's poll looks at it once more after it has said that it is done (ib_poll_handler), and
// ib_free_cq waits for no more than that word: so its softirq's end is waited for first.
static void free_queue(struct ib_cq* cq) {
  irq_poll_disable(&cq->iop);
  synchronize_rcu();
  irq_poll_enable(&cq->iop);
  ib_free_cq(cq);
}

void mitosis_remote_close(struct mitosis_remote* r) {
  if (!r) return;
  mitosis_remote_stop(r);
  if (r->cq) free_queue(r->cq);
  if (r->welcome_piece.length)
    ib_dma_unmap_single(r->id->device, r->welcome_piece.addr, sizeof(*r->welcome), DMA_FROM_DEVICE);
  if (r->pd) ib_dealloc_pd(r->pd);
  if (r->id) rdma_destroy_id(r->id);
  mitosis_free(r->welcome);
  mitosis_free(r->blob);
  mitosis_free(r);
}

static struct mitosis_remote* open_to(const struct sockaddr_in* to, unsigned int ms, u32 by,
                                      u64 handler, const u8* key) {
  struct mitosis_remote* r = mitosis_zalloc(sizeof(*r));
  int error;

  if (!r) return ERR_PTR(-ENOMEM);
  init_completion(&r->stepped);
  init_completion(&r->welcomed);
  init_completion(&r->read);
  r->read_done.done = mitosis_remote_on_read;
  r->end = jiffies + msecs_to_jiffies(ms);
  error = connect(r, to, by, handler, key);
  if (!error) error = mitosis_remote_fetch(r);
  if (!error) {
    mitosis_count(connections);
    return r;
  }
  mitosis_remote_close(r);
  return ERR_PTR(error);
}

struct mitosis_remote* mitosis_remote_connect(const struct sockaddr_in* to, u64 handler,
                                              const u8* key) {
  return open_to(to, CONNECT_MS, MITOSIS_BY_KEY, handler, key);
}

struct mitosis_remote* mitosis_remote_reach(const struct sockaddr_in* to,
                                            const struct mitosis_owner* owner) {
  u8 key[MITOSIS_KEY_BYTES];

  mitosis_target_key(owner->target_key, owner->generation, key);
  return open_to(to, MITOSIS_WAIT_MS, MITOSIS_BY_TARGET, owner->handler, key);
}

int mitosis_remote_ping(const struct sockaddr_in* to) {
  struct mitosis_remote* r = mitosis_remote_connect(to, MITOSIS_NO_HANDLER, NULL);

  if (!IS_ERR(r)) {  // it cannot have that handler
    mitosis_remote_close(r);
    return -EPROTO;
  }
  return PTR_ERR(r) == -EISCONN ? 0 : PTR_ERR(r);
}
