/* SPDX-License-Identifier: MIT */
/* See mischief.h. */
#include "mischief.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int mischief(const char* what) {
  if (strcmp(what, "socket") == 0) return socket(AF_NETLINK, SOCK_RAW, 0);
  if (strcmp(what, "ring") == 0) {
    unsigned long ring = 0;
    return syscall(SYS_io_setup, 8, &ring) == 0 ? 0 : -1;
  }
  return -1;
}
