// SPDX-License-Identifier: MIT OR GPL-2.0
// The child's side of RDMA: a connection to the owner of its pages, which it reads one-sidedly.
// World: kernel. Every wait has an end: an owner that is gone is told of in seconds.
#include <linux/completion.h>
#include <linux/in.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "remote.h"

struct mitosis_remote {
  struct kref references;
  struct mutex lock;  // of reads
  struct rdma_cm_id* id;
  struct ib_pd* pd;
  struct ib_cq* cq;
  struct completion stepped;  // the connection's begin has come one step on
  enum rdma_cm_event_type event;
  int error;
  bool broken;  // nothing is read any more
  struct mitosis_welcome welcome;
  void* blob;      // the descriptor
  u64* addresses;  // in it: of the owner's pages
  struct ib_cqe read_done;
  struct completion read;
  int read_error;
  struct ib_rdma_wr requests[MITOSIS_BATCH];
  struct ib_sge pieces[MITOSIS_BATCH];
};

// -- the begin of a connection -------------------------------------------------------------------

static int refusal_of(const struct rdma_cm_event* event) {
  const struct mitosis_refusal* refusal = event->param.conn.private_data;

  if (!refusal || event->param.conn.private_data_len < sizeof(*refusal) ||
      refusal->magic != MITOSIS_MAGIC)
    return -ECONNREFUSED;
  return refusal->error ? refusal->error : -EISCONN;  // who only asks is told so
}

static int on_event(struct rdma_cm_id* id, struct rdma_cm_event* event) {
  struct mitosis_remote* r = id->context;
  const struct mitosis_welcome* welcome = event->param.conn.private_data;

  switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      break;
    case RDMA_CM_EVENT_ESTABLISHED:
      if (!welcome || event->param.conn.private_data_len < sizeof(*welcome) ||
          welcome->magic != MITOSIS_MAGIC)
        r->error = -EPROTO;
      else
        r->welcome = *welcome;
      break;
    case RDMA_CM_EVENT_REJECTED:
      r->error = refusal_of(event);
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
static int step(struct mitosis_remote* r, int begun) {
  long left;

  if (begun) return begun;
  left = wait_for_completion_killable_timeout(&r->stepped, msecs_to_jiffies(MITOSIS_WAIT_MS));
  if (left < 0) return -EINTR;
  return left == 0 ? -ETIMEDOUT : r->error;
}

static int make_queue_pair(struct mitosis_remote* r) {
  struct ib_qp_init_attr attributes = {
      .cap = {.max_send_wr = MITOSIS_BATCH, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
      .qp_type = IB_QPT_RC,
      .sq_sig_type = IB_SIGNAL_REQ_WR,
  };

  r->pd = ib_alloc_pd(r->id->device, 0);
  if (IS_ERR(r->pd)) {
    r->pd = NULL;
    return -ENOMEM;
  }
  r->cq = ib_alloc_cq(r->id->device, r, MITOSIS_BATCH + 1, 0, IB_POLL_SOFTIRQ);
  if (IS_ERR(r->cq)) {
    r->cq = NULL;
    return -ENOMEM;
  }
  attributes.send_cq = attributes.recv_cq = r->cq;
  return rdma_create_qp(r->id, r->pd, &attributes);
}

static int connect(struct mitosis_remote* r, const struct sockaddr_in* to, u64 handler) {
  const struct mitosis_hello hello = {.magic = MITOSIS_MAGIC, .handler = handler};
  struct rdma_conn_param parameters = {
      .private_data = &hello,
      .private_data_len = sizeof(hello),
      .initiator_depth = MITOSIS_DEPTH,
      .retry_count = 5,  // 7 is for ever
      .rnr_retry_count = 5,
  };
  int error;

  r->id = rdma_create_id(&init_net, on_event, r, RDMA_PS_TCP, IB_QPT_RC);
  if (IS_ERR(r->id)) {
    error = PTR_ERR(r->id);
    r->id = NULL;
    return error;
  }
  error = step(r, rdma_resolve_addr(r->id, NULL, (struct sockaddr*)to, MITOSIS_WAIT_MS));
  if (!error) error = step(r, rdma_resolve_route(r->id, MITOSIS_WAIT_MS));
  if (!error) error = make_queue_pair(r);
  if (!error) error = rdma_set_ack_timeout(r->id, 16);  // 0.27 s each
  if (!error) error = step(r, rdma_connect(r->id, &parameters));
  return error;
}

// Nothing is written into this machine's memory any more.
static void stop(struct mitosis_remote* r) {
  r->broken = true;
  if (!r->id || !r->id->qp) return;
  rdma_disconnect(r->id);
  rdma_destroy_qp(r->id);
}

static void destroy(struct kref* references) {
  struct mitosis_remote* r = container_of(references, struct mitosis_remote, references);

  stop(r);
  if (r->cq) ib_free_cq(r->cq);
  if (r->pd) ib_dealloc_pd(r->pd);
  if (r->id) rdma_destroy_id(r->id);
  kvfree(r->blob);
  kvfree(r);
}

struct mitosis_remote* mitosis_remote_get(struct mitosis_remote* r) {
  if (r) kref_get(&r->references);
  return r;
}

void mitosis_remote_put(struct mitosis_remote* r) {
  if (r) kref_put(&r->references, destroy);
}

// -- reads ---------------------------------------------------------------------------------------

static void on_read(struct ib_cq* cq, struct ib_wc* wc) {
  struct mitosis_remote* r = container_of(wc->wr_cqe, struct mitosis_remote, read_done);

  if (wc->status != IB_WC_SUCCESS && !r->read_error) {
    pr_notice_ratelimited("a read failed: %s\n", ib_wc_status_msg(wc->status));
    r->read_error = -EIO;
  }
  complete(&r->read);
}

// Pages at these addresses into memory that is mapped at `pieces`: one doorbell, one wait.
static int read_batch(struct mitosis_remote* r, unsigned int count) {
  const struct ib_send_wr* bad;
  unsigned int i;
  long left;
  int error;

  if (READ_ONCE(r->broken)) return -EIO;
  for (i = 0; i < count; i++) {
    struct ib_rdma_wr* wr = &r->requests[i];

    wr->wr = (struct ib_send_wr){
        .next = i + 1 < count ? &r->requests[i + 1].wr : NULL,
        .wr_cqe = &r->read_done,
        .sg_list = &r->pieces[i],
        .num_sge = 1,
        .opcode = IB_WR_RDMA_READ,
        .send_flags = i + 1 < count ? 0 : IB_SEND_SIGNALED,
    };
    wr->rkey = r->welcome.rkey;
  }
  reinit_completion(&r->read);
  r->read_error = 0;
  error = ib_post_send(r->id->qp, &r->requests[0].wr, &bad);
  left =
      error ? 0 : wait_for_completion_killable_timeout(&r->read, msecs_to_jiffies(MITOSIS_WAIT_MS));
  if (!error) error = left < 0 ? -EINTR : left == 0 ? -ETIMEDOUT : r->read_error;
  if (error) stop(r);  // also so that no late answer writes where nobody expects it
  return error;
}

static int map_piece(struct mitosis_remote* r, unsigned int i, void* into, u64 from) {
  struct ib_device* device = r->id->device;
  u64 address = ib_dma_map_single(device, into, PAGE_SIZE, DMA_FROM_DEVICE);

  if (ib_dma_mapping_error(device, address)) return -ENOMEM;
  r->pieces[i] = (struct ib_sge){address, PAGE_SIZE, r->pd->local_dma_lkey};
  r->requests[i].remote_addr = from;
  return 0;
}

static int flush(struct mitosis_remote* r, unsigned int* count, int error) {
  unsigned int i;

  if (!error && *count) error = read_batch(r, *count);
  for (i = 0; i < *count; i++)
    ib_dma_unmap_single(r->id->device, r->pieces[i].addr, PAGE_SIZE, DMA_FROM_DEVICE);
  *count = 0;
  return error;
}

static int read_all(struct mitosis_remote* r, const struct mitosis_read* reads, u32 count) {
  unsigned int pieces = 0, i;
  u64 page;
  int error = 0;

  for (i = 0; i < count && !error; i++) {
    const struct mitosis_read* read = &reads[i];

    if (read->index > r->welcome.page_count || read->count > r->welcome.page_count - read->index)
      error = -EINVAL;
    for (page = 0; page < read->count && !error; page++) {
      if (pieces == MITOSIS_BATCH) error = flush(r, &pieces, 0);
      if (!error)
        error = map_piece(r, pieces, read->into + (page << PAGE_SHIFT),
                          r->addresses[read->index + page]);
      if (!error) pieces++;
    }
  }
  return flush(r, &pieces, error);
}

// One doorbell; more only for more than MITOSIS_BATCH pages.
void mitosis_remote_read(struct mitosis_remote* r, struct mitosis_read* reads, u32 count) {
  int error = mutex_lock_killable(&r->lock);
  u32 i;

  if (!error) {
    error = read_all(r, reads, count);
    mutex_unlock(&r->lock);
  }
  for (i = 0; i < count; i++) reads[i].result = error;
}

// -- the descriptor ------------------------------------------------------------------------------

// The chain of the index, and what each of its pages names.
static int fetch(struct mitosis_remote* r) {
  const struct mitosis_welcome* w = &r->welcome;
  u64 bytes = ALIGN(w->descriptor_bytes, 8) + w->page_count * sizeof(u64);
  u64 pages = DIV_ROUND_UP(bytes, PAGE_SIZE), done = 0, next = w->index;
  unsigned int pieces = 0, i;
  u64* index;
  int error = 0;

  if (w->descriptor_bytes > 64u << 20 || w->page_count > 1ull << 32) return -EPROTO;
  r->addresses = NULL;
  r->blob = kvzalloc(pages << PAGE_SHIFT, GFP_KERNEL_ACCOUNT);
  index = (u64*)__get_free_page(GFP_KERNEL);
  if (!r->blob || !index) error = -ENOMEM;
  while (!error && done < pages) {
    error = map_piece(r, 0, index, next);
    if (error) break;
    pieces = 1;
    error = flush(r, &pieces, 0);
    for (i = 0; !error && i < MITOSIS_INDEX_WORDS - 1 && done < pages; i++, done++) {
      void* into = r->blob + (done << PAGE_SHIFT);
      struct page* page = is_vmalloc_addr(into) ? vmalloc_to_page(into) : virt_to_page(into);

      if (pieces == MITOSIS_BATCH) error = flush(r, &pieces, 0);
      if (!error) error = map_piece(r, pieces, page_address(page), index[i]);
      if (!error) pieces++;
    }
    error = flush(r, &pieces, error);
    next = index[MITOSIS_INDEX_WORDS - 1];
  }
  free_page((unsigned long)index);
  if (!error) r->addresses = r->blob + ALIGN(w->descriptor_bytes, 8);
  return error;
}

const void* mitosis_remote_descriptor(const struct mitosis_remote* r, u64* bytes) {
  *bytes = r->welcome.descriptor_bytes;
  return r->blob;
}

struct mitosis_remote* mitosis_remote_connect(const struct sockaddr_in* to, u64 handler) {
  struct mitosis_remote* r = kvzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
  int error;

  if (!r) return ERR_PTR(-ENOMEM);
  kref_init(&r->references);
  mutex_init(&r->lock);
  init_completion(&r->stepped);
  init_completion(&r->read);
  r->read_done.done = on_read;
  error = connect(r, to, handler);
  if (!error) error = fetch(r);
  if (!error) return r;
  mitosis_remote_put(r);
  return ERR_PTR(error);
}

int mitosis_remote_ping(const struct sockaddr_in* to) {
  struct mitosis_remote* r = mitosis_remote_connect(to, MITOSIS_NO_HANDLER);

  if (!IS_ERR(r)) {  // it cannot have that handler
    mitosis_remote_put(r);
    return -EPROTO;
  }
  return PTR_ERR(r) == -EISCONN ? 0 : PTR_ERR(r);
}
