// SPDX-License-Identifier: MIT
// The network interface of an iWARP device, and an interface's address. World: user.
// iWARP's gid is no address: its first six bytes are its interface's MAC (what the kernel's drivers
// answer in query_gid: siw, cxgb4, irdma), and before Linux 6.5 the verbs tell no interface.
#pragma once

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <unistd.h>

#include <mitosis/net/verbs/device_facts.hpp>

#include <cstring>
#include <string>
#include <vector>

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

/// An interface that has a MAC; bonds, bridges and VLANs have the one of what they are made of.
struct MacHolder {
  std::string name;
  bool addressed = false;  ///< it has an IPv4 address
  bool physical = false;   ///< it is a device's own
};

/// Whose address an iWARP device of that MAC connects by: the only one that has an address; of
/// several the only one that is a device's own. Empty: that cannot be told.
[[nodiscard]] inline std::string choose_holder(const std::vector<MacHolder>& holders) {
  if (holders.size() == 1) return holders[0].name;
  std::vector<std::string> addressed, physical;
  for (const MacHolder& each : holders) {
    if (!each.addressed) continue;
    addressed.push_back(each.name);
    if (each.physical) physical.push_back(each.name);
  }
  if (addressed.size() == 1) return addressed[0];
  return physical.size() == 1 ? physical[0] : std::string();
}

/// The interface whose MAC the gid starts with; empty: there is none here, or which is meant
/// cannot be told.
[[nodiscard]] inline std::string interface_of_mac(const Gid& gid) {
  constexpr std::size_t mac_bytes = 6;
  std::vector<MacHolder> holders;
  detail::for_each_address([&](const ifaddrs& each) {
    if (each.ifa_addr->sa_family != AF_PACKET) return false;
    const auto* link = reinterpret_cast<const sockaddr_ll*>(each.ifa_addr);
    if (link->sll_halen != mac_bytes || std::memcmp(link->sll_addr, gid.data(), mac_bytes) != 0) {
      return false;
    }
    holders.push_back({each.ifa_name, false, false});
    return false;
  });
  for (MacHolder& each : holders) {
    each.addressed = !ipv4_of_interface(each.name).empty();
    each.physical = ::access(("/sys/class/net/" + each.name + "/device").c_str(), F_OK) == 0;
  }
  return choose_holder(holders);
}

}  // namespace mitosis::verbs
