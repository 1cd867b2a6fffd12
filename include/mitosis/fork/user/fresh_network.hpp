// SPDX-License-Identifier: MIT
// enter_fresh_network(): a network namespace of the calling process's own. World: user.
// In it every port and abstract name is free, so that what a child's parent listened at can be
// bound again on a machine where it is taken. Source: network_namespaces(7), netdevice(7).
#pragma once

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstring>

namespace mitosis {

/// Nothing but a loopback that is up: no other machine is reached from it. What is open stays in
/// its own. Takes CAP_SYS_ADMIN; 0, or the errno: of unshare(2) where `entered` stays false.
inline int enter_fresh_network(bool& entered) noexcept {
  entered = ::unshare(CLONE_NEWNET) == 0;
  if (!entered) return errno;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback = {};
  std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &loopback) != 0) return errno;
  return 0;
}

}  // namespace mitosis
