// SPDX-License-Identifier: MIT
// make_bridge, add_to_bridge: a switch that joins more than two machines. World: user.
#pragma once

#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <testbed/interface.hpp>

#include <cerrno>
#include <string>

namespace mitosis::testbed {

/// Makes bridge `name`, up, in the calling thread's namespace. Needs CONFIG_BRIDGE and
/// CAP_NET_ADMIN.
inline Result<void> make_bridge(const std::string& name) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::ioctl(socket.get(), SIOCBRADDBR, name.c_str()) != 0) {
    const Errc code = errno == EPERM ? Errc::missing_privilege : Errc::system_call_failed;
    return Error(code, name.c_str(), errno).in("make a bridge");
  }
  return set_interface_up(name, true);
}

/// Plugs interface `port` of the calling thread's namespace into `bridge`, and sets it up.
inline Result<void> add_to_bridge(const std::string& bridge, const std::string& port) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  bridge.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(port.c_str()));
  if (!socket || ::ioctl(socket.get(), SIOCBRADDIF, &request) != 0) {
    return Error(Errc::system_call_failed, port.c_str(), errno).in("join a bridge");
  }
  return set_interface_up(port, true);
}

}  // namespace mitosis::testbed
