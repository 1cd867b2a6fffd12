// SPDX-License-Identifier: MIT
// The network interface of an iWARP device, and an interface's address. World: user.
// iWARP's gid is no address: its first six bytes are its interface's MAC (what the kernel's drivers
// answer in query_gid: siw, cxgb4, irdma), and before Linux 6.5 nothing else tells the interface.
#pragma once

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netpacket/packet.h>

#include <mitosis/net/verbs/device_facts.hpp>

#include <cstring>
#include <string>

namespace mitosis::verbs {

namespace detail {

/// Calls `look(entry)` for each address of this machine's interfaces, until it says true.
template <class Look>
void for_each_address(Look look) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr != nullptr && look(*each)) break;
  }
  ::freeifaddrs(all);
}

}  // namespace detail

/// The interface whose MAC the gid starts with; empty: there is none here.
[[nodiscard]] inline std::string interface_of_mac(const Gid& gid) {
  constexpr std::size_t mac_bytes = 6;
  std::string found;
  detail::for_each_address([&](const ifaddrs& each) {
    if (each.ifa_addr->sa_family != AF_PACKET) return false;
    const auto* link = reinterpret_cast<const sockaddr_ll*>(each.ifa_addr);
    if (link->sll_halen != mac_bytes || std::memcmp(link->sll_addr, gid.data(), mac_bytes) != 0) {
      return false;
    }
    found = each.ifa_name;
    return true;
  });
  return found;
}

/// The first IPv4 address of an interface, as text; empty: it has none.
[[nodiscard]] inline std::string ipv4_of_interface(const std::string& name) {
  char text[INET_ADDRSTRLEN] = {};
  if (name.empty()) return {};
  detail::for_each_address([&](const ifaddrs& each) {
    if (each.ifa_addr->sa_family != AF_INET || name != each.ifa_name) return false;
    const auto* address = reinterpret_cast<const sockaddr_in*>(each.ifa_addr);
    ::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    return true;
  });
  return text;
}

}  // namespace mitosis::verbs
