/* SPDX-License-Identifier: MIT */
/* The kernel module in the agent's place. World: user. */
#ifndef PUPPET_DEVICE_H
#define PUPPET_DEVICE_H

#include <stdint.h>

/* Whether $MITOSIS_PUPPET_DEVICE names the device to prepare by. */
int device_is_used(void);
/* As mitosis_prepare(); the parent stays until it is reclaimed. -1 with errno. */
int device_prepare(uint64_t handler, uint8_t key[16]);
/* Whether this process is a child of the module: mremap does not grow its parent's memory. */
int device_child(void);

#endif
