// SPDX-License-Identifier: MIT OR GPL-2.0
// The owner's side of RDMA: a peer connects for one handler, is told where its descriptor is, and
// reads that and the pages by itself. World: kernel. When a handler ends its connections do, before
// its pages: what a peer still reads fails there.
#include <linux/highmem.h>
#include <linux/in.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "remote.h"

struct connection {
  struct list_head entry;
  struct work_struct end;
  bool ending;  // under the connections' lock
  struct rdma_cm_id* id;
  struct ib_pd* pd;
  struct ib_cq* cq;
  struct mitosis_prepared* prepared;
};

static LIST_HEAD(connections);
static DEFINE_MUTEX(connections_lock);
static struct rdma_cm_id* listener;
static struct workqueue_struct* ends;

// -- what a peer may read ------------------------------------------------------------------------

// For one device, made with the first connection to it: the descriptor, then the address of each
// page; and an index of the addresses of all that, in a chain of pages.
struct mitosis_export {
  struct ib_device* device;
  void *blob, *index;
  u64 blob_pages, index_pages, mapped;
  u64* addresses;  // of the captured pages, in the blob
  u64 first;       // the address of the index's first page
};

static u64 map(struct ib_device* device, struct page* page) {
  u64 address = ib_dma_map_page(device, page, 0, PAGE_SIZE, DMA_TO_DEVICE);

  return ib_dma_mapping_error(device, address) ? 0 : address;
}
static void unmap(struct ib_device* device, u64 address) {
  if (address) ib_dma_unmap_page(device, address, PAGE_SIZE, DMA_TO_DEVICE);
}

void mitosis_export_drop(struct mitosis_prepared* prepared) {
  struct mitosis_export* e = prepared->export;
  u64* index;
  u64 i;

  if (!e) return;
  for (i = 0; e->addresses && i < e->mapped; i++) unmap(e->device, e->addresses[i]);
  unmap(e->device, e->first);
  index = e->index;
  for (i = 0; index && i < e->index_pages * MITOSIS_INDEX_WORDS; i++) unmap(e->device, index[i]);
  vfree(e->blob);
  vfree(e->index);
  kfree(e);
  prepared->export = NULL;
}

// Under the prepared's lock.
static int export_to(struct mitosis_prepared* p, struct ib_device* device) {
  struct mitosis_export* e = p->export;
  u64 descriptor = ALIGN(p->descriptor_bytes, 8), i, *index;

  if (e) return e->device == device ? 0 : -EBUSY;  // one device a handler
  if (!p->pages) return -ENOENT;
  e = kzalloc(sizeof(*e), GFP_KERNEL);
  if (!e) return -ENOMEM;
  p->export = e;
  e->device = device;
  e->blob_pages = DIV_ROUND_UP(descriptor + p->page_count * sizeof(u64), PAGE_SIZE);
  e->index_pages = DIV_ROUND_UP(e->blob_pages, MITOSIS_INDEX_WORDS - 1);
  e->blob = vzalloc(e->blob_pages << PAGE_SHIFT);
  e->index = vzalloc(e->index_pages << PAGE_SHIFT);
  if (!e->blob || !e->index) goto fail;
  memcpy(e->blob, p->descriptor, p->descriptor_bytes);
  e->addresses = e->blob + descriptor;
  for (i = 0; i < p->page_count; i++, e->mapped++) {
    e->addresses[i] = map(device, p->pages[i]);
    if (!e->addresses[i]) goto fail;
  }
  // The last word of each page of the index is the next one's address.
  index = e->index;
  for (i = 0; i < e->blob_pages; i++) {
    u64 word = i / (MITOSIS_INDEX_WORDS - 1) * MITOSIS_INDEX_WORDS + i % (MITOSIS_INDEX_WORDS - 1);

    index[word] = map(device, vmalloc_to_page(e->blob + (i << PAGE_SHIFT)));
    if (!index[word]) goto fail;
  }
  e->first = map(device, vmalloc_to_page(e->index));
  if (!e->first) goto fail;
  for (i = 0; i + 1 < e->index_pages; i++) {
    u64 word = (i + 1) * MITOSIS_INDEX_WORDS - 1;

    index[word] = map(device, vmalloc_to_page(e->index + ((i + 1) << PAGE_SHIFT)));
    if (!index[word]) goto fail;
  }
  return 0;
fail:
  mitosis_export_drop(p);
  return -ENOMEM;
}

// -- connections ---------------------------------------------------------------------------------

// No read of the peer is served any more when this returns.
static void stop(struct connection* c) {
  if (c->id->qp) {
    rdma_disconnect(c->id);
    rdma_destroy_qp(c->id);
  }
}

static bool has_other(const struct connection* c) {
  struct connection* other;

  list_for_each_entry(other, &connections, entry) {
    if (other->prepared == c->prepared) return true;
  }
  return false;
}

// The device may go once its last id has: the export, which has addresses of it, goes first.
static void end(struct work_struct* work) {
  struct connection* c = container_of(work, struct connection, end);

  mutex_lock(&connections_lock);
  list_del(&c->entry);
  stop(c);
  if (!has_other(c)) {
    down_write(&c->prepared->lock);
    mitosis_export_drop(c->prepared);
    up_write(&c->prepared->lock);
  }
  mutex_unlock(&connections_lock);
  if (c->cq) ib_free_cq(c->cq);
  if (c->pd) ib_dealloc_pd(c->pd);
  rdma_destroy_id(c->id);
  mitosis_prepared_put(c->prepared);
  kfree(c);
}

static void begin_end(struct connection* c) {
  if (!c->ending) queue_work(ends, &c->end);
  c->ending = true;
}

void mitosis_server_revoke(struct mitosis_prepared* prepared) {
  struct connection* c;

  mutex_lock(&connections_lock);
  list_for_each_entry(c, &connections, entry) {
    if (c->prepared == prepared) stop(c);
  }
  mutex_unlock(&connections_lock);
}

static int refuse(struct rdma_cm_id* id, int error) {
  const struct mitosis_refusal refusal = {MITOSIS_MAGIC, error};

  rdma_reject(id, &refusal, sizeof(refusal), IB_CM_REJ_CONSUMER_DEFINED);
  return error ? error : -ENOENT;  // the id goes with it
}

static int make_queue_pair(struct connection* c) {
  struct ib_qp_init_attr attributes = {
      .cap = {.max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
      .qp_type = IB_QPT_RC,
      .sq_sig_type = IB_SIGNAL_ALL_WR,
  };

  c->pd = ib_alloc_pd(c->id->device, IB_PD_UNSAFE_GLOBAL_RKEY);
  if (IS_ERR(c->pd)) {
    c->pd = NULL;
    return -ENOMEM;
  }
  c->cq = ib_alloc_cq(c->id->device, c, 2, 0, IB_POLL_DIRECT);
  if (IS_ERR(c->cq)) {
    c->cq = NULL;
    return -ENOMEM;
  }
  attributes.send_cq = attributes.recv_cq = c->cq;
  return rdma_create_qp(c->id, c->pd, &attributes);
}

// Under the connections' lock: no revocation between the look and the entry in the list.
static int accept(struct rdma_cm_id* id, struct connection* c, u8 depth) {
  struct mitosis_prepared* p = c->prepared;
  struct mitosis_welcome welcome = {.magic = MITOSIS_MAGIC};
  struct rdma_conn_param parameters = {
      .private_data = &welcome,
      .private_data_len = sizeof(welcome),
      .responder_resources = min_t(u8, depth, MITOSIS_DEPTH),
      .rnr_retry_count = 7,
  };
  int error = make_queue_pair(c);

  if (error) return error;
  down_write(&p->lock);
  error = !p->revoked && p->pages ? export_to(p, id->device) : -ENOENT;
  if (!error) {
    welcome.rkey = c->pd->unsafe_global_rkey;
    welcome.index = p->export->first;
    welcome.descriptor_bytes = p->descriptor_bytes;
    welcome.page_count = p->page_count;
  }
  up_write(&p->lock);
  return error ? error : rdma_accept(id, &parameters);
}

static int on_request(struct rdma_cm_id* id, const struct rdma_conn_param* request) {
  const struct mitosis_hello* hello = request->private_data;
  struct connection* c;
  int error;

  if (!hello || request->private_data_len < sizeof(*hello) || hello->magic != MITOSIS_MAGIC)
    return refuse(id, -EPROTO);
  if (hello->handler == MITOSIS_NO_HANDLER) return refuse(id, 0);
  c = kzalloc(sizeof(*c), GFP_KERNEL);
  if (!c) return refuse(id, -ENOMEM);
  c->id = id;
  INIT_WORK(&c->end, end);
  c->prepared = mitosis_prepared_find(hello->handler);
  if (!c->prepared) {
    kfree(c);
    return refuse(id, -ENOENT);
  }
  mutex_lock(&connections_lock);
  error = accept(id, c, request->responder_resources);
  if (!error) {
    id->context = c;
    list_add(&c->entry, &connections);
  } else if (!has_other(c)) {
    down_write(&c->prepared->lock);
    mitosis_export_drop(c->prepared);
    up_write(&c->prepared->lock);
  }
  mutex_unlock(&connections_lock);
  if (!error) return 0;
  if (id->qp) rdma_destroy_qp(id);
  if (c->cq) ib_free_cq(c->cq);
  if (c->pd) ib_dealloc_pd(c->pd);
  mitosis_prepared_put(c->prepared);
  kfree(c);
  return refuse(id, error);
}

// A result other than 0 has the id destroyed.
static int on_event(struct rdma_cm_id* id, struct rdma_cm_event* event) {
  struct connection* c = id->context;

  switch (event->event) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
      return on_request(id, &event->param.conn);
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_REJECTED:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      if (!c) return 0;
      id->context = NULL;  // once, however many events there are
      mutex_lock(&connections_lock);
      begin_end(c);
      mutex_unlock(&connections_lock);
      return 0;
    default:
      return 0;
  }
}

int mitosis_server_begin(u16 port) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
  int error;

  if (!port) return 0;
  ends = alloc_workqueue("mitosis", 0, 0);
  if (!ends) return -ENOMEM;
  listener = rdma_create_id(&init_net, on_event, NULL, RDMA_PS_TCP, IB_QPT_RC);
  error = PTR_ERR_OR_ZERO(listener);
  if (error) listener = NULL;
  if (!error) error = rdma_bind_addr(listener, (struct sockaddr*)&any);
  if (!error) error = rdma_listen(listener, 64);
  if (error) mitosis_server_end();
  return error;
}

void mitosis_server_end(void) {
  struct connection* c;

  if (listener) rdma_destroy_id(listener);
  listener = NULL;
  if (!ends) return;
  mutex_lock(&connections_lock);
  list_for_each_entry(c, &connections, entry) begin_end(c);
  mutex_unlock(&connections_lock);
  destroy_workqueue(ends);
  ends = NULL;
}
