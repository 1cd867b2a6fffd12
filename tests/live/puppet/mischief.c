/* SPDX-License-Identifier: MIT */
/* See mischief.h. */
#include "mischief.h"

#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

int mischief(const char* what) {
  if (strcmp(what, "socket") == 0) return socket(AF_NETLINK, SOCK_RAW, 0);
  if (strcmp(what, "shared") == 0) {
    const int id = shmget(IPC_PRIVATE, 4096, 0600);
    const void* at = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    return at == (void*)-1 ? -1 : 0;
  }
  return -1;
}
