// SPDX-License-Identifier: MIT
// Network interfaces of the calling thread's namespace: address, up and down, traffic. World: user.
// The old ioctls do all of this for IPv4 in a line each; only making a veth needs netlink.
#pragma once

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace mitosis::testbed {

namespace detail {

/// `change` fills in the request; its name is set already.
template <class Change>
Result<void> interface_ioctl(unsigned long operation, const std::string& name, Change change) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  change(request);
  if (socket && ::ioctl(socket.get(), operation, &request) == 0) return {};
  return Error(Errc::system_call_failed, name.c_str(), errno).in("set an interface");
}

inline sockaddr ipv4(std::uint32_t host_order) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host_order);
  sockaddr plain;
  static_assert(sizeof plain == sizeof address);
  std::memcpy(&plain, &address, sizeof plain);
  return plain;
}

}  // namespace detail

/// Up or down; "lo" is down in a new namespace.
inline Result<void> set_interface_up(const std::string& name, bool up) {
  return detail::interface_ioctl(SIOCSIFFLAGS, name, [up](ifreq& request) {
    request.ifr_flags = up ? short{IFF_UP | IFF_RUNNING} : short{0};
  });
}

/// `address` and the length of its prefix, in host byte order: 10.0.0.1/24 is (0x0a000001, 24).
inline Result<void> set_interface_address(const std::string& name, std::uint32_t address,
                                          unsigned prefix) {
  const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
  auto set = detail::interface_ioctl(
      SIOCSIFADDR, name, [address](ifreq& request) { request.ifr_addr = detail::ipv4(address); });
  if (!set) return set;
  return detail::interface_ioctl(
      SIOCSIFNETMASK, name, [mask](ifreq& request) { request.ifr_netmask = detail::ipv4(mask); });
}

/// Bytes with all headers since the interface was made; zeros where it is not there.
struct Traffic {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};
inline Traffic interface_traffic(const std::string& name) {
  std::ifstream table("/proc/thread-self/net/dev");
  for (std::string line; std::getline(table, line);) {
    const std::size_t colon = line.find(':');
    const std::size_t first = line.find_first_not_of(' ');
    if (colon == std::string::npos || line.substr(first, colon - first) != name) continue;
    std::istringstream columns(line.substr(colon + 1));
    Traffic traffic;
    std::uint64_t skipped = 0;
    columns >> traffic.received;
    for (int i = 0; i < 7; ++i) columns >> skipped;
    columns >> traffic.sent;
    return traffic;
  }
  return {};
}

}  // namespace mitosis::testbed
