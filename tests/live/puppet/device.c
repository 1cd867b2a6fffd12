/* SPDX-License-Identifier: MIT */
/* See device.h. */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <mitosis/fork/kernel/device.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int is_child;

static const char* path(void) {
  return getenv("MITOSIS_PUPPET_DEVICE");
}
int device_is_used(void) {
  return path() != NULL;
}
int device_child(void) {
  return is_child;
}

int device_prepare(uint64_t handler, uint8_t key[MITOSIS_KEY_BYTES]) {
  struct mitosis_prepare request = {.handler = handler, .flags = MITOSIS_STAYS};
  const int device = open(path(), O_RDWR | O_CLOEXEC);
  if (device < 0) return -1;
  const int who = ioctl(device, MITOSIS_PREPARE_KEYED, &request);
  const int error = errno;
  if (who == 1) { /* whose descriptors are the resumer's: that one is not the device */
    is_child = 1;
    return who;
  }
  memcpy(key, request.key, MITOSIS_KEY_BYTES);
  close(device);
  errno = error;
  return who;
}
