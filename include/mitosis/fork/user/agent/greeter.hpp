// SPDX-License-Identifier: MIT
// Greeter: calls the machines that an agent was started with, and tells its log which of them
// cannot be had. World: user. A wrong address or secret shows at the start, not at the first
// resume.
#pragma once

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/peers.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// One thread, which ends once every machine has answered or its patience has. A machine that
/// starts at the same time as this one is given that long; one that refuses our secret is told at
/// once.
class Greeter {
 public:
  struct Options {
    std::chrono::milliseconds patience{10'000};  ///< before a silent machine is told of
    std::chrono::milliseconds pause{1'000};      ///< between calls
  };

  /// `peers` must outlive it; close them before it is destroyed, or it waits for a call.
  Greeter(Peers& peers, std::vector<MachineId> machines)
      : Greeter(peers, std::move(machines), Options()) {}
  Greeter(Peers& peers, std::vector<MachineId> machines, Options options)
      : thread_([&peers, options, left = std::move(machines)](const std::stop_token& stop) mutable {
          greet(peers, left, options, stop);
        }) {}

  void request_stop() noexcept { thread_.request_stop(); }
  /// Waits until every machine has answered or been told of, or it was stopped. Once.
  void join() { thread_.join(); }

 private:
  static void greet(Peers& peers, std::vector<MachineId>& left, Options options,
                    const std::stop_token& stop) {
    const auto limit = std::chrono::steady_clock::now() + options.patience;
    std::mutex mutex;
    std::condition_variable_any stopped;
    while (!left.empty() && !stop.stop_requested()) {
      const bool late = std::chrono::steady_clock::now() >= limit;
      std::erase_if(left, [&](MachineId machine) {
        const Result<void> answer = peers.ping(machine);
        if (answer.ok() || stop.stop_requested()) return true;
        if (!late && answer.code() != Errc::authentication_failed) return false;
        spdlog::warn("a machine that was named at the start cannot be called: {}",
                     describe(answer.error()));
        return true;
      });
      std::unique_lock lock(mutex);
      if (!left.empty()) stopped.wait_for(lock, stop, options.pause, [] { return false; });
    }
  }

  std::jthread thread_;
};

}  // namespace mitosis::agent
