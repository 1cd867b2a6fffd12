// SPDX-License-Identifier: MIT
// Model: what the simulated network costs, and which faults it has. World: sim.
// The defaults are those of the original system's cluster: 100 Gb/s, RC connect 5.07 ms.
#pragma once

#include <cstdint>

namespace mitosis::sim {

/// Nanoseconds, unless said otherwise.
struct Costs {
  std::uint64_t latency = 1'000;            ///< one way
  std::uint64_t bytes_per_us = 11'000;      ///< of one NIC, each direction
  std::uint64_t nic = 300;                  ///< for one request, on either side
  std::uint64_t rc_connect = 5'070'000;     ///< a queue pair's handshake, once a peer
  std::uint64_t dct_connect = 1'000;        ///< pointing an initiator at another target
  std::uint64_t rpc = 4'160;                ///< the owner's CPU, for one call
  std::uint64_t detect_crash = 10'000'000;  ///< until a dead peer is noticed
};

/// Probabilities in parts of a million, for each one-sided read.
struct Faults {
  std::uint32_t loss = 0;         ///< never answered: it ends at its deadline
  std::uint32_t delay = 0;        ///< answered late by up to `max_delay`: it is overtaken
  std::uint32_t unavailable = 0;  ///< the NIC cannot read that page: the fallback must
  std::uint32_t rpc_failure = 0;  ///< for each fallback: the connection breaks
  std::uint64_t max_delay = 2'000'000;
};

struct Model {
  Costs costs;
  Faults faults;
};

}  // namespace mitosis::sim
