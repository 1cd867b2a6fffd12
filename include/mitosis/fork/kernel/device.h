// SPDX-License-Identifier: MIT OR GPL-2.0
// The calls of /dev/mitosis-syscalls that the original lacks. World: kernel, and its users.
// The original's are bare numbers (docs/cli.md has the table); these have versions of their own: a
// structure that grows gets another number, so that an old program is never misunderstood.
#ifndef MITOSIS_FORK_KERNEL_DEVICE_H
#define MITOSIS_FORK_KERNEL_DEVICE_H

#include <linux/ioctl.h>
#include <linux/types.h>

// Ends a handler of this machine: when the call returns, no page of it is served any more. For its
// user, and for who has CAP_SYS_PTRACE. ENOENT, EACCES; EINVAL: reserved bits.
struct mitosis_reclaim {
  __u64 handler;
  __u64 reserved;  // 0
};
#define MITOSIS_RECLAIM _IOW('M', 0x40, struct mitosis_reclaim)

#endif
