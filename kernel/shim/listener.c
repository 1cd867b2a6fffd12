// SPDX-License-Identifier: MIT OR GPL-2.0
// Where other machines' agents reach this one: TCP, at the same port as RDMA. World: kernel.
// Each connection is a work of its own, from its accept to its end; what is said on it is the C++'s
// (fork/kernel/agent_service.hpp).
#include <linux/err.h>
#include <linux/net.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "agent.h"

enum {
  MAX_CONNECTIONS = 256,
  MAX_STRANGERS = 32,  // that have not proved themselves: the oldest makes room
  HANDSHAKE_MS = 3000,
  BACKLOG = 64,
};

struct connection {
  struct list_head entry;
  struct work_struct work;
  struct mitosis_socket* socket;
  bool stranger;
};

static struct workqueue_struct* works;
static struct socket* listener;
static struct work_struct accepting;
static DEFINE_MUTEX(connections_lock);
static LIST_HEAD(connections);  // the oldest first; under their lock, as these are
static unsigned int count, strangers;
static bool ending;

static void settle(struct connection* c) {
  if (c->stranger) strangers--;
  c->stranger = false;
}

static void serve(struct work_struct* work) {
  struct connection* c = container_of(work, struct connection, work);
  int purpose = 0, error;

  mitosis_socket_patience(c->socket, HANDSHAKE_MS);
  error = mitosis_core_admit(c->socket, &purpose);
  mutex_lock(&connections_lock);
  settle(c);
  mutex_unlock(&connections_lock);
  if (error == -EACCES) {
    mitosis_count(refused_peers);
    mitosis_refuse("a peer has not the secret\n");
  } else if (!error) {
    mitosis_count(accepted_peers);
    mitosis_core_serve(c->socket, purpose);
  }
  mutex_lock(&connections_lock);
  list_del(&c->entry);
  count--;
  mutex_unlock(&connections_lock);
  mitosis_socket_close(c->socket);
  mitosis_free(c);
}

// Takes the socket over.
static void admit(struct socket* socket) {
  struct connection *c = mitosis_zalloc(sizeof(*c)), *other;

  if (c) c->socket = mitosis_socket_adopt(socket);
  if (!c || !c->socket) {
    mitosis_free(c);
    sock_release(socket);
    return;
  }
  INIT_WORK(&c->work, serve);
  c->stranger = true;
  mutex_lock(&connections_lock);
  list_for_each_entry(other, &connections, entry) {
    if (strangers < MAX_STRANGERS) break;
    if (!other->stranger) continue;
    settle(other);
    mitosis_socket_stop(other->socket);
  }
  if (ending || count == MAX_CONNECTIONS) {
    mutex_unlock(&connections_lock);
    mitosis_socket_close(c->socket);
    mitosis_free(c);
    return;
  }
  list_add_tail(&c->entry, &connections);
  count++;
  strangers++;
  queue_work(works, &c->work);
  mutex_unlock(&connections_lock);
}

static void accept_all(struct work_struct* work) {
  struct socket* socket;
  int error;

  for (;;) {
    error = kernel_accept(listener, &socket, 0);
    if (!error)
      admit(socket);
    else if (READ_ONCE(ending))
      return;
    else
      schedule_timeout_uninterruptible(HZ / 10);  // no memory: there may be some soon
  }
}

int mitosis_listener_begin(u16 port) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
  int error;

  if (!port) return 0;
  WRITE_ONCE(ending, false);
  works = alloc_workqueue("mitosis_agent", WQ_UNBOUND, MAX_CONNECTIONS + 1);
  if (!works) return -ENOMEM;
  error = sock_create_kern(&init_net, PF_INET, SOCK_STREAM, IPPROTO_TCP, &listener);
  if (error) listener = NULL;
  if (!error) {
    sock_set_reuseaddr(listener->sk);
    error = kernel_bind(listener, (struct sockaddr*)&any, sizeof(any));
  }
  if (!error) error = kernel_listen(listener, BACKLOG);
  if (error) {
    mitosis_listener_end();
    return error;
  }
  INIT_WORK(&accepting, accept_all);
  queue_work(works, &accepting);
  return 0;
}

void mitosis_listener_end(void) {
  struct connection* c;

  if (!works) return;
  WRITE_ONCE(ending, true);
  if (listener) kernel_sock_shutdown(listener, SHUT_RDWR);
  mutex_lock(&connections_lock);
  list_for_each_entry(c, &connections, entry) mitosis_socket_stop(c->socket);
  mutex_unlock(&connections_lock);
  destroy_workqueue(works);
  works = NULL;
  if (listener) sock_release(listener);
  listener = NULL;
}
