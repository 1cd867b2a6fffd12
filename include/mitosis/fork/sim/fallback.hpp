// SPDX-License-Identifier: MIT
// Fallback: a page by RPC, through the owner's CPU; models mitosis::Fallback. World: sim.
#pragma once

#include <mitosis/fork/platform.hpp>
#include <mitosis/net/sim/network.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// Each call ends exactly once, at its deadline at the latest.
class FallbackReader {
 public:
  /// `done` gets (cookie, status), from an event.
  FallbackReader(Network& network, MachineId self, std::function<void(std::uint64_t, Errc)> done)
      : network_(network), self_(self), done_(std::move(done)) {}

  void read(const ReadRequest& request) noexcept {
    auto& events = network_.events();
    auto open = std::make_shared<bool>(true);
    const auto end = [this, cookie = request.cookie, open](Errc status) {
      if (std::exchange(*open, false)) done_(cookie, status);
    };
    const auto tag = static_cast<std::uint64_t>(self_);
    events.at(request.deadline, tag, [end] { end(Errc::timed_out); });
    const Model& model = network_.model();
    if (!network_.up(request.peer) || network_.random().chance(model.faults.rpc_failure)) {
      events.after(model.costs.detect_crash, tag, [end] { end(Errc::connection_lost); });
      return;
    }
    const Time there = network_.send(self_, request.peer, 64, events.now());
    events.at(there + model.costs.rpc, tag, [this, request, end, open, tag] {
      if (!*open) return;
      if (!network_.up(request.peer)) return end(Errc::connection_lost);
      auto bytes = std::make_shared<std::vector<std::uint8_t>>(request.bytes);
      const Errc status =
          network_.read(request.peer, request.target, request.remote_address, MutableBytes(*bytes));
      const Time back = network_.send(request.peer, self_, request.bytes, network_.events().now());
      network_.events().at(back, tag, [request, end, open, status, bytes] {
        if (!*open) return;
        if (status == Errc::ok) __builtin_memcpy(request.into.data, bytes->data(), request.bytes);
        end(status);
      });
    });
  }

 private:
  Network& network_;
  MachineId self_;
  std::function<void(std::uint64_t, Errc)> done_;
};
static_assert(Fallback<FallbackReader>);

}  // namespace mitosis::sim
