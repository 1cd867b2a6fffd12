// SPDX-License-Identifier: MIT OR GPL-2.0
// The owner's side of RDMA: who listens, whom it lets in, and all connections. World: kernel.
// A peer connects for one handler, proves that it may, and is served by connection.c. When a
// handler ends its connections do, before its pages: what a peer still reads fails there.
#include <linux/in.h>
#include <linux/list.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "connection.h"

static LIST_HEAD(connections);
static DEFINE_MUTEX(connections_lock);
static struct rdma_cm_id* listener;
static struct workqueue_struct* ends;

// -- connections ---------------------------------------------------------------------------------

static bool has_other(const struct mitosis_connection* c) {
  struct mitosis_connection* other;

  list_for_each_entry(other, &connections, entry) {
    if (other->prepared == c->prepared) return true;
  }
  return false;
}

static void drop_unused(const struct mitosis_connection* c) {
  if (has_other(c)) return;
  down_write(&c->prepared->lock);
  mitosis_export_drop(c->prepared);
  up_write(&c->prepared->lock);
}

// The device may go once its last id has: the export, which has addresses of it, goes first.
static void end(struct work_struct* work) {
  struct mitosis_connection* c = container_of(work, struct mitosis_connection, end);
  struct rdma_cm_id* id = c->id;

  rdma_lock_handler(id);  // no event finds it from here on
  id->context = NULL;
  rdma_unlock_handler(id);
  cancel_work_sync(&c->serve);
  mutex_lock(&connections_lock);
  list_del(&c->entry);
  mitosis_connection_stop(c);
  drop_unused(c);
  mutex_unlock(&connections_lock);
  mitosis_connection_destroy(c);
  rdma_destroy_id(id);
}

static void begin_end(struct mitosis_connection* c) {
  if (!c->ending) queue_work(ends, &c->end);
  c->ending = true;
}

void mitosis_server_revoke(struct mitosis_prepared* prepared) {
  struct mitosis_connection* c;

  mutex_lock(&connections_lock);
  list_for_each_entry(c, &connections, entry) {
    if (c->prepared == prepared) mitosis_connection_stop(c);
  }
  mutex_unlock(&connections_lock);
}

// -- its begin -----------------------------------------------------------------------------------

static int refuse(struct rdma_cm_id* id, const struct mitosis_hello* hello, int error) {
  struct mitosis_refusal refusal = {MITOSIS_MAGIC, error, {}};

  if (error == -EAGAIN) mitosis_challenge(hello, &refusal.challenge);
  if (error == -EACCES) {
    mitosis_count(refused_peers);
    pr_notice_ratelimited("a peer has not the %s\n",
                          hello->handler == MITOSIS_NO_HANDLER ? "secret" : "secret or the key");
  }
  rdma_reject(id, &refusal, sizeof(refusal), IB_CM_REJ_CONSUMER_DEFINED);
  return error ? error : -ENOENT;  // the id goes with it
}

static int may_connect(const struct mitosis_prepared* p, const struct mitosis_hello* hello) {
  u8 right[MITOSIS_PROOF_BYTES];

  mitosis_connection_prove(MITOSIS_PEER, p, hello, right);
  return mitosis_is_proof(hello->handler_proof, right) ? 0 : -EACCES;
}

static int on_request(struct rdma_cm_id* id, const struct rdma_conn_param* request) {
  const struct mitosis_hello* hello = request->private_data;
  struct mitosis_connection* c;
  int error;

  if (!hello || request->private_data_len < sizeof(*hello) || hello->magic != MITOSIS_MAGIC ||
      hello->by > MITOSIS_BY_TARGET)
    return refuse(id, NULL, -EPROTO);
  error = mitosis_challenge_check(hello);
  if (error || hello->handler == MITOSIS_NO_HANDLER) return refuse(id, hello, error);
  c = mitosis_zalloc(sizeof(*c));
  if (!c) return refuse(id, hello, -ENOMEM);
  c->id = id;
  mutex_init(&c->lock);
  INIT_WORK(&c->serve, mitosis_connection_serve);
  INIT_WORK(&c->end, end);
  c->prepared = mitosis_prepared_find(hello->handler);
  error = c->prepared ? may_connect(c->prepared, hello) : -ENOENT;
  if (!error) {
    mutex_lock(&connections_lock);
    error = mitosis_connection_accept(c, hello, request->responder_resources);
    if (error) {
      drop_unused(c);
    } else {
      id->context = c;
      list_add(&c->entry, &connections);
    }
    mutex_unlock(&connections_lock);
  }
  if (!error) {
    mitosis_count(accepted_peers);
    return 0;
  }
  mitosis_connection_destroy(c);
  return refuse(id, hello, error);
}

static void begin_serve(struct mitosis_connection* c) {
  mutex_lock(&connections_lock);
  if (!c->ending) queue_work(ends, &c->serve);
  mutex_unlock(&connections_lock);
}

// A result other than 0 has the id destroyed.
static int on_event(struct rdma_cm_id* id, struct rdma_cm_event* event) {
  struct mitosis_connection* c = id->context;

  switch (event->event) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
      return on_request(id, &event->param.conn);
    case RDMA_CM_EVENT_ESTABLISHED:
      if (c) begin_serve(c);
      return 0;
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
  struct mitosis_connection* c;

  if (listener) rdma_destroy_id(listener);
  listener = NULL;
  if (!ends) return;
  mutex_lock(&connections_lock);
  list_for_each_entry(c, &connections, entry) begin_end(c);
  mutex_unlock(&connections_lock);
  destroy_workqueue(ends);
  ends = NULL;
}
