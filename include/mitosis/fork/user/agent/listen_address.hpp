// SPDX-License-Identifier: MIT
// What an agent that listens on all addresses is called by. World: user.
#pragma once

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

#include <string>
#include <string_view>

namespace mitosis::agent::detail {

/// "host" of "host:port" or "[v6]:port", and whether it stands for all addresses.
inline std::string host_of(const std::string& listen) {
  return listen.substr(0, listen.rfind(':'));
}
inline bool is_wildcard(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "[::]" || host == "*";
}

/// The first address of this machine that others can reach; loopback where there is no other.
inline std::string own_address() {
  std::string found = "127.0.0.1";
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* a = all; a != nullptr; a = a->ifa_next) {
    if (a->ifa_addr == nullptr || a->ifa_addr->sa_family != AF_INET) continue;
    char text[NI_MAXHOST];
    if (::getnameinfo(a->ifa_addr, sizeof(sockaddr_in), text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    if (std::string_view(text).starts_with("127.")) continue;
    found = text;
    break;
  }
  ::freeifaddrs(all);
  return found;
}

}  // namespace mitosis::agent::detail
