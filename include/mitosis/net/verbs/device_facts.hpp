// SPDX-License-Identifier: MIT
// What is known of a machine's RDMA devices: plain data, so that whoever chooses among them can be
// tested without any. World: user. `device_list.hpp` asks libibverbs for it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::verbs {

/// 16 bytes, in network order: who one end of a connection is.
using Gid = std::array<std::uint8_t, 16>;

enum class GidType : std::uint8_t { infiniband, roce_v1, roce_v2, iwarp };

struct GidFacts {
  std::uint32_t index = 0;  ///< in the port's table
  GidType type = GidType::infiniband;
  Gid bytes{};
  std::string interface;  ///< the network interface it belongs to; empty: none (or it has gone)
  /// Of iWARP, whose gid is none: an address of the interface, as text; empty: it has none.
  std::string address = {};
};

struct PortFacts {
  std::uint8_t number = 1;
  bool active = false;
  std::string state;       ///< in words: "active", "down"
  std::string link_layer;  ///< "Ethernet", "InfiniBand"
  std::uint32_t mtu = 0;   ///< bytes of payload a packet, as negotiated
  double gigabits = 0;     ///< a second; 0: unknown
  std::uint16_t lid = 0;   ///< InfiniBand only
  std::vector<GidFacts> gids;
};

/// The device's own maxima; 0 where it has none of it.
struct DeviceLimits {
  std::uint32_t queue_pairs = 0;
  std::uint32_t work_requests = 0;  ///< a queue
  std::uint32_t completion_queues = 0;
  std::uint32_t regions = 0;
  std::uint64_t region_bytes = 0;
  std::uint32_t reads_in_flight = 0;         ///< a queue pair, as initiator
  std::uint32_t reads_in_flight_served = 0;  ///< a queue pair, as target
};

struct DeviceFacts {
  std::string name;    ///< as in /sys/class/infiniband
  std::string broken;  ///< why nothing more could be learnt of it; empty: all could
  std::string driver;  ///< of the kernel: "rxe", "mlx5"; empty: unknown
  bool iwarp = false;
  bool on_demand_paging = false;  ///< regions need no pinned memory for reads by RC
  bool may_do_dct = false;        ///< an mlx5 device; whether this one can shows when one is made
  DeviceLimits limits;
  std::vector<PortFacts> ports;
};

}  // namespace mitosis::verbs
