// SPDX-License-Identifier: MIT OR GPL-2.0
// The other machines of the cluster: their addresses by their ids. World: kernel.
#include <linux/in.h>
#include <linux/inet.h>
#include <linux/xarray.h>

#include "shim.h"

enum { DEFAULT_PORT = 7412 };

static DEFINE_XARRAY(machines);  // of struct sockaddr_in

// "10.0.0.1" or "10.0.0.1:7412"
static int parse(const char* text, struct sockaddr_in* address) {
  const char* end;
  u16 port = DEFAULT_PORT;

  *address = (struct sockaddr_in){.sin_family = AF_INET};
  if (!in4_pton(text, -1, (u8*)&address->sin_addr, ':', &end)) return -EINVAL;
  if (*end == ':' && kstrtou16(end + 1, 10, &port)) return -EINVAL;
  address->sin_port = htons(port);
  return 0;
}

int mitosis_machine_connect(u32 machine, const char* text) {
  struct sockaddr_in* address = mitosis_zalloc(sizeof(*address));
  struct sockaddr_in* old;
  int error;

  if (!address) return -ENOMEM;
  error = parse(text, address);
  if (error)
    mitosis_refuse("connect: \"%.64s\" is no IPv4 address with or without a port\n", text);
  else
    error = mitosis_remote_ping(address);
  if (!error) {
    xa_lock(&machines);
    old = mitosis_fails() ? XA_ERROR(-ENOMEM) : __xa_store(&machines, machine, address, GFP_KERNEL);
    xa_unlock(&machines);
    if (!xa_is_err(old)) {
      mitosis_free(old);
      return 0;
    }
    error = xa_err(old);
  }
  mitosis_free(address);
  return error;
}

int mitosis_machine_find(u32 machine, struct sockaddr_in* address) {
  const struct sockaddr_in* found;

  xa_lock(&machines);
  found = xa_load(&machines, machine);
  if (found) *address = *found;
  xa_unlock(&machines);
  return found ? 0 : -ENOENT;
}

void mitosis_machines_forget(void) {
  struct sockaddr_in* address;
  unsigned long machine;

  xa_for_each(&machines, machine, address) mitosis_free(address);
  xa_destroy(&machines);
}
