/* SPDX-License-Identifier: MIT */
/* See mischief.h. */
#include "mischief.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void* sleeper(void* unused) {
  pause();
  return unused;
}

int mischief(const char* what) {
  if (strcmp(what, "thread") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleeper, NULL) != 0) return -1;
    return pthread_setname_np(thread, "sleeper") == 0 ? 0 : -1;
  }
  if (strcmp(what, "socket") == 0) return socket(AF_NETLINK, SOCK_RAW, 0);
  if (strcmp(what, "shared") == 0) {
    char* at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return -1;
    *at = 1;
    return 0;
  }
  return -1;
}
