// SPDX-License-Identifier: MIT
// Machines with devices of memory that have dynamic connections, for tests. World: user.
#pragma once

#include <mitosis/net/verbs/dct/memory_device.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mitosis::verbs {

inline constexpr std::uint32_t page = 4096;
inline constexpr std::uint32_t remote_key = 9;

inline DcPort port_of(std::uint32_t machine) {
  DcPort port;
  port.gid[14] = static_cast<std::uint8_t>(machine >> 8);
  port.gid[15] = static_cast<std::uint8_t>(machine);
  return port;
}

/// One of them, which has some pages registered under `remote_key`.
struct DctMachine {
  DctMachine(MemoryDevices& all, std::uint32_t id, std::size_t pages)
      : machine(id), device(all, port_of(id)) {
    std::vector<std::uint8_t>& memory = all.port(port_of(id)).regions[remote_key];
    memory.resize(pages * page);
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = byte(i);
  }
  [[nodiscard]] std::uint8_t byte(std::size_t at) const {
    return static_cast<std::uint8_t>(machine * 31 + at * 7 + at / page);
  }
  std::uint32_t machine;
  MemoryDevice device;
};

}  // namespace mitosis::verbs
