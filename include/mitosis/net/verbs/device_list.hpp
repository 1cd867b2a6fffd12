// SPDX-License-Identifier: MIT
// Asks libibverbs what RDMA devices this machine has. World: user; links with -libverbs.
// Nothing is kept open. A device that cannot be asked is listed all the same, with the reason.
#pragma once

#include <dirent.h>
#include <infiniband/verbs.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/net/verbs/device_facts.hpp>
#include <mitosis/net/verbs/interface_address.hpp>
#include <mitosis/net/verbs/on_demand.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::verbs {

namespace detail {

/// Lanes and a lane's Gb/s, as the InfiniBand specification codes them (PortInfo).
inline double gigabits(std::uint8_t width, std::uint32_t speed) noexcept {
  const int lanes = width == 1    ? 1
                    : width == 2  ? 4
                    : width == 4  ? 8
                    : width == 8  ? 12
                    : width == 16 ? 2
                                  : 0;
  switch (speed) {
    case 1:
      return lanes * 2.5;
    case 2:
      return lanes * 5.0;
    case 4:
    case 8:
      return lanes * 10.0;
    case 16:
      return lanes * 14.0;
    case 32:
      return lanes * 25.0;
    case 64:
      return lanes * 50.0;
    case 128:
      return lanes * 100.0;
    default:
      return 0;
  }
}

inline const char* state_words(ibv_port_state state) noexcept {
  switch (state) {
    case IBV_PORT_DOWN:
      return "down";
    case IBV_PORT_INIT:
      return "initializing";
    case IBV_PORT_ARMED:
      return "armed";
    case IBV_PORT_ACTIVE:
      return "active";
    case IBV_PORT_ACTIVE_DEFER:
      return "active, deferred";
    default:
      return "unknown";
  }
}

inline GidType gid_type(std::uint32_t type, bool iwarp) noexcept {
  if (iwarp) return GidType::iwarp;
  if (type == IBV_GID_TYPE_ROCE_V1) return GidType::roce_v1;
  if (type == IBV_GID_TYPE_ROCE_V2) return GidType::roce_v2;
  return GidType::infiniband;
}

inline std::vector<std::pair<std::uint32_t, GidFacts>> read_gids(ibv_context* context, bool iwarp,
                                                                 std::size_t most) {
  std::vector<ibv_gid_entry> entries(most);
  const ssize_t count = ::ibv_query_gid_table(context, entries.data(), entries.size(), 0);
  std::vector<std::pair<std::uint32_t, GidFacts>> gids;
  for (ssize_t i = 0; i < count; ++i) {
    const ibv_gid_entry& entry = entries[static_cast<std::size_t>(i)];
    GidFacts gid;
    gid.index = entry.gid_index;
    gid.type = gid_type(entry.gid_type, iwarp);
    std::memcpy(gid.bytes.data(), entry.gid.raw, gid.bytes.size());
    char name[IF_NAMESIZE] = {};
    if (::if_indextoname(entry.ndev_ifindex, name) != nullptr) gid.interface = name;
    if (iwarp && gid.interface.empty()) gid.interface = interface_of_mac(gid.bytes);
    if (iwarp) gid.address = ipv4_of_interface(gid.interface);
    gids.emplace_back(entry.port_num, std::move(gid));
  }
  return gids;
}

inline DeviceLimits limits_of(const ibv_device_attr& attr) {
  const auto positive = [](int value) { return value > 0 ? static_cast<std::uint32_t>(value) : 0; };
  DeviceLimits limits;
  limits.queue_pairs = positive(attr.max_qp);
  limits.work_requests = positive(attr.max_qp_wr);
  limits.completion_queues = positive(attr.max_cq);
  limits.regions = positive(attr.max_mr);
  limits.region_bytes = attr.max_mr_size;
  limits.reads_in_flight = positive(attr.max_qp_init_rd_atom);
  limits.reads_in_flight_served = positive(attr.max_qp_rd_atom);
  return limits;
}

/// The kernel driver's name, from sysfs: the device's own, or the word before its number.
inline std::string driver_of(const std::string& device) {
  const std::string link = "/sys/class/infiniband/" + device + "/device/driver";
  char target[256] = {};
  if (::readlink(link.c_str(), target, sizeof target - 1) > 0) {
    const char* slash = std::strrchr(target, '/');
    return slash != nullptr ? slash + 1 : target;
  }
  return {};
}

inline DeviceFacts read_device(ibv_device* device) {
  DeviceFacts facts;
  facts.name = ::ibv_get_device_name(device);
  facts.iwarp = device->transport_type == IBV_TRANSPORT_IWARP;
  facts.driver = driver_of(facts.name);
  ibv_context* context = ::ibv_open_device(device);
  if (context == nullptr) {
    facts.broken = fmt::format("it cannot be opened: {}", std::strerror(errno));
    return facts;
  }
  ibv_device_attr attr{};
  if (const int failed = ::ibv_query_device(context, &attr); failed != 0) {
    facts.broken = fmt::format("it does not tell its limits: {}", std::strerror(failed));
    static_cast<void>(::ibv_close_device(context));
    return facts;
  }
  facts.limits = limits_of(attr);
  facts.on_demand_paging = reads_on_demand(context);
  facts.may_do_dct = attr.vendor_id != 0 && facts.driver.rfind("mlx5", 0) == 0;
  std::size_t entries = 0;
  for (std::uint8_t number = 1; number <= attr.phys_port_cnt; ++number) {
    ibv_port_attr port{};
    if (::ibv_query_port(context, number, &port) != 0) continue;
    PortFacts known;
    known.number = number;
    known.active = port.state == IBV_PORT_ACTIVE;
    known.state = state_words(port.state);
    known.link_layer = port.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand";
    known.mtu = port.active_mtu == 0 ? 0 : 128u << port.active_mtu;
    known.gigabits = gigabits(port.active_width, port.active_speed);
    known.lid = port.lid;
    entries += static_cast<std::size_t>(std::max(port.gid_tbl_len, 0));
    facts.ports.push_back(std::move(known));
  }
  for (auto& [port, gid] : read_gids(context, facts.iwarp, entries)) {
    for (PortFacts& known : facts.ports) {
      if (known.number == port) known.gids.push_back(gid);
    }
  }
  static_cast<void>(::ibv_close_device(context));
  return facts;
}

}  // namespace detail

/// All devices that libibverbs sees, in its order.
[[nodiscard]] inline std::vector<DeviceFacts> list_devices() {
  std::vector<DeviceFacts> devices;
  int count = 0;
  ibv_device** list = ::ibv_get_device_list(&count);
  for (int i = 0; list != nullptr && i < count; ++i) {
    devices.push_back(detail::read_device(list[i]));
  }
  if (list != nullptr) ::ibv_free_device_list(list);
  return devices;
}

/// Why there is none, in a sentence that says what to do. `folder` is the kernel's, to be tested.
[[nodiscard]] inline std::string why_no_device(const std::string& folder = "/sys/class") {
  const auto has_entries = [](const std::string& path) {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return false;
    bool found = false;
    while (const dirent* entry = ::readdir(directory)) found = found || entry->d_name[0] != '.';
    ::closedir(directory);
    return found;
  };
  if (!has_entries(folder + "/infiniband")) {
    return "This machine has no RDMA device. With an ordinary network card soft-RoCE makes one, as "
           "root: `modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0`. Without, use "
           "--fabric tcp.";
  }
  if (!has_entries(folder + "/infiniband_verbs")) {
    return "The kernel has RDMA devices, but none for programs: as root `modprobe ib_uverbs`.";
  }
  return "The kernel has RDMA devices, but libibverbs has no provider for them: install "
         "ibverbs-providers.";
}

}  // namespace mitosis::verbs
