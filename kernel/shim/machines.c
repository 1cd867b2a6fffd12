// SPDX-License-Identifier: MIT OR GPL-2.0
// The other machines of the cluster by their ids: their addresses, and whether they are to be asked
// as agents are. World: kernel.
#include <linux/in.h>
#include <linux/inet.h>
#include <linux/xarray.h>

#include "shim.h"

enum { DEFAULT_PORT = 7412 };

struct machine {
  struct sockaddr_in address;
  bool is_agent;
};
static DEFINE_XARRAY(machines);  // of struct machine

int mitosis_machine_parse(const char* text, struct sockaddr_in* address) {
  const char* end;
  u16 port = DEFAULT_PORT;

  *address = (struct sockaddr_in){.sin_family = AF_INET};
  if (!in4_pton(text, -1, (u8*)&address->sin_addr, ':', &end)) return -EINVAL;
  if (*end == ':' && kstrtou16(end + 1, 10, &port)) return -EINVAL;
  address->sin_port = htons(port);
  return 0;
}

// A module answers by RDMA, which is the quicker way; on TCP both answer.
static int ask(u32 id, struct machine* m) {
  int error = mitosis_remote_ping(&m->address);

  if (!error || error == -EACCES || error == -EINTR || !mitosis_has_mac()) return error;
  error = mitosis_agent_ping(&m->address, id);
  m->is_agent = !error;
  return error;
}

int mitosis_machine_connect(u32 id, const char* text) {
  struct machine* m = mitosis_zalloc(sizeof(*m));
  struct machine* old;
  int error;

  if (!m) return -ENOMEM;
  error = mitosis_machine_parse(text, &m->address);
  if (error)
    mitosis_refuse("connect: \"%.64s\" is no IPv4 address with or without a port\n", text);
  else
    error = ask(id, m);
  if (!error) {
    xa_lock(&machines);
    old = mitosis_fails() ? XA_ERROR(-ENOMEM) : __xa_store(&machines, id, m, GFP_KERNEL);
    xa_unlock(&machines);
    if (!xa_is_err(old)) {
      mitosis_free(old);
      return 0;
    }
    error = xa_err(old);
  }
  mitosis_free(m);
  return error;
}

int mitosis_machine_find(u32 id, struct sockaddr_in* address, bool* is_agent) {
  const struct machine* found;

  xa_lock(&machines);
  found = xa_load(&machines, id);
  if (found) {
    *address = found->address;
    *is_agent = found->is_agent;
  }
  xa_unlock(&machines);
  return found ? 0 : -ENOENT;
}

int mitosis_machine_ping(u32 id) {
  struct sockaddr_in address;
  bool is_agent;
  int error = mitosis_machine_find(id, &address, &is_agent);

  if (error) return error;
  return is_agent ? mitosis_agent_ping(&address, id) : mitosis_remote_ping(&address);
}

void mitosis_machines_forget(void) {
  struct machine* m;
  unsigned long id;

  xa_for_each(&machines, id, m) mitosis_free(m);
  xa_destroy(&machines);
}
