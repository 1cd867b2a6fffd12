// SPDX-License-Identifier: MIT
// A gid and its type as a person reads them. World: user.
#pragma once

#include <arpa/inet.h>

#include <mitosis/net/verbs/device_facts.hpp>

#include <algorithm>
#include <string>

namespace mitosis::verbs {

[[nodiscard]] inline const char* type_name(GidType type) noexcept {
  switch (type) {
    case GidType::infiniband:
      return "IB";
    case GidType::roce_v1:
      return "RoCE v1";
    case GidType::roce_v2:
      return "RoCE v2";
    case GidType::iwarp:
      return "iWARP";
  }
  return "?";
}

/// ::ffff:a.b.c.d, which is how RoCE writes an IPv4 address.
[[nodiscard]] inline bool is_ipv4(const Gid& gid) noexcept {
  return std::all_of(gid.begin(), gid.begin() + 10, [](auto byte) { return byte == 0; }) &&
         gid[10] == 0xff && gid[11] == 0xff;
}
/// fe80::/10: means something on its own link only.
[[nodiscard]] inline bool is_link_local(const Gid& gid) noexcept {
  return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}
[[nodiscard]] inline bool is_zero(const Gid& gid) noexcept {
  return gid == Gid{};
}

/// All eight groups, as sysfs and show_gids have it.
[[nodiscard]] inline std::string gid_text(const Gid& gid) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < gid.size(); ++i) {
    if (i != 0 && i % 2 == 0) text += ':';
    text += digits[gid[i] >> 4];
    text += digits[gid[i] & 15];
  }
  return text;
}

/// The address it stands for: 10.0.0.1, or fe80::1.
[[nodiscard]] inline std::string address_text(const Gid& gid) {
  char text[INET6_ADDRSTRLEN] = {};
  const bool four = is_ipv4(gid);
  const auto* bytes = gid.data() + (four ? 12 : 0);
  return ::inet_ntop(four ? AF_INET : AF_INET6, bytes, text, sizeof text) != nullptr ? text : "";
}
[[nodiscard]] inline std::string address_text(const GidFacts& gid) {
  return gid.type == GidType::iwarp ? gid.address : address_text(gid.bytes);
}

}  // namespace mitosis::verbs
