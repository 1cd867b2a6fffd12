// SPDX-License-Identifier: MIT
// Which device, port and gid is used: the one named, else the best, and why one is of no use.
// World: user; decides only, so that it is tested with devices that nobody here has.
#pragma once

#include <fmt/format.h>

#include <mitosis/base/result.hpp>
#include <mitosis/net/verbs/gid_text.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::verbs {

/// What the user has said; what is not said is chosen.
struct DeviceWish {
  std::string device;                ///< "rxe0", or the network interface's name: "eth0"
  std::optional<std::uint8_t> port;  ///< from 1
  std::optional<std::uint32_t> gid;  ///< index in the port's table
};

struct ChosenGid {
  std::string device;
  std::uint8_t port = 1;
  GidFacts gid;
};

/// Why a device cannot be used at all; empty: it can.
[[nodiscard]] inline std::string why_unusable(const DeviceFacts& device) {
  if (!device.broken.empty()) return device.broken;
  if (device.limits.queue_pairs == 0) return "it has no queue pairs: not an RDMA device";
  if (device.limits.reads_in_flight == 0) return "it cannot read remote memory";
  if (device.ports.empty()) return "it has no port";
  return {};
}

/// Why a port cannot be used; empty: it can.
[[nodiscard]] inline std::string why_unusable(const PortFacts& port) {
  if (!port.active) {
    const bool ethernet = port.link_layer == "Ethernet";
    return fmt::format("its link is {}: {}", port.state,
                       ethernet ? "set the interface up, check the cable"
                                : "check the cable and that a subnet manager runs");
  }
  if (port.gids.empty()) return "it has no gid: give its network interface an address";
  return {};
}

/// Why a gid cannot be used; empty: it can.
[[nodiscard]] inline std::string why_unusable(const GidFacts& gid) {
  if (is_zero(gid.bytes)) return "the entry is empty";
  const bool roce = gid.type == GidType::roce_v1 || gid.type == GidType::roce_v2;
  if (roce && gid.interface.empty()) return "its network interface has gone";
  if (gid.type == GidType::iwarp && gid.interface.empty()) {
    return "no network interface has its MAC, or of several that do more than one has an IPv4 "
           "address, and iWARP connects by one";
  }
  if (gid.type == GidType::iwarp && gid.address.empty()) {
    return "its network interface has no IPv4 address, by which iWARP connects: give it one";
  }
  return {};
}

/// Higher is better: what is routed before what is not, IPv4 before IPv6 as people type it.
[[nodiscard]] inline int rank(const GidFacts& gid) noexcept {
  const int reach = is_link_local(gid.bytes) && gid.type != GidType::infiniband ? 0
                    : is_ipv4(gid.bytes)                                        ? 2
                                                                                : 1;
  switch (gid.type) {
    case GidType::infiniband:
      return 12 + (gid.index == 0 ? 1 : 0);  // the port's own; others are aliases
    case GidType::roce_v2:
      return 8 + reach;
    case GidType::iwarp:
      return 4;
    case GidType::roce_v1:
      return reach;
  }
  return 0;
}

namespace detail {

/// The reasons that were met, for the error where nothing is left.
class Refusals {
 public:
  /// True: usable, nothing to note.
  bool usable(const std::string& what, const std::string& why) {
    if (why.empty()) return true;
    if (!text_.empty()) text_ += "; ";
    text_ += what + ": " + why;
    return false;
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

inline bool named(const DeviceFacts& device, const std::string& wish) {
  if (wish.empty() || device.name == wish) return true;
  for (const PortFacts& port : device.ports) {
    for (const GidFacts& gid : port.gids) {
      if (gid.interface == wish) return true;
    }
  }
  return false;
}

}  // namespace detail

/// The gid to use. Among equals the first wins, so that a machine chooses alike each time.
/// invalid_argument where a named thing is not there, transport_unsupported where nothing is
/// usable; both say what there is.
[[nodiscard]] inline Result<ChosenGid> choose(const std::vector<DeviceFacts>& devices,
                                              const DeviceWish& wish) {
  if (devices.empty()) {
    return Error(Errc::transport_unsupported,
                 "this machine has no RDMA device (`mitosis nics` tells more); use --fabric tcp")
        .in("choose an RDMA device");
  }
  detail::Refusals refused;
  std::optional<ChosenGid> best;
  std::string there;
  bool device_there = false;
  bool entry_there = false;
  for (const DeviceFacts& device : devices) {
    there += (there.empty() ? "" : ", ") + device.name;
    if (!detail::named(device, wish.device)) continue;
    device_there = true;
    if (!refused.usable(device.name, why_unusable(device))) continue;
    const bool by_interface = !wish.device.empty() && device.name != wish.device;
    for (const PortFacts& port : device.ports) {
      if (wish.port && *wish.port != port.number) continue;
      const std::string at = fmt::format("{} port {}", device.name, port.number);
      if (!refused.usable(at, why_unusable(port))) {
        entry_there = true;
        continue;
      }
      for (const GidFacts& gid : port.gids) {
        if (wish.gid && *wish.gid != gid.index) continue;
        if (by_interface && gid.interface != wish.device) continue;
        entry_there = true;
        if (!refused.usable(fmt::format("{} gid {}", at, gid.index), why_unusable(gid))) continue;
        if (!best || rank(gid) > rank(best->gid)) best = ChosenGid{device.name, port.number, gid};
      }
    }
  }
  if (best) return *best;
  if (!device_there || (!entry_there && refused.text().empty())) {
    const std::string about =
        device_there
            ? fmt::format("{} has no such port or gid", wish.device.empty() ? there : wish.device)
            : fmt::format("no RDMA device `{}`; there is {}", wish.device, there);
    return Error(Errc::invalid_argument, about.c_str()).in("choose an RDMA device");
  }
  return Error(Errc::transport_unsupported, refused.text().c_str()).in("choose an RDMA device");
}

}  // namespace mitosis::verbs
