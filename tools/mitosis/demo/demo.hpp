// SPDX-License-Identifier: MIT
// Demo: a numpy program is prepared on one machine and goes on as several on another. World: user.
// The story reads top to bottom in `run`. It asserts what it shows: a child with a wrong byte or a
// wrong counter ends it with an error.
#pragma once

#include <mitosis/base/result.hpp>
#include <testbed/two_machines.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../agent_calls.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "report.hpp"

namespace mitosis::tools {

struct DemoOptions {
  std::string command;                           ///< path of this `mitosis`
  std::string python = "/usr/bin/python3";       ///< with numpy
  std::vector<std::string> program_environment;  ///< where it finds the mitosis module
  std::string policy;
  std::uint64_t size_mib = 300;
  unsigned children = 3;
  static constexpr const char* directory_prefix = "mitosis-demo";
};

/// One run. What it made goes with it, in the reverse order.
class Demo {
 public:
  Demo(DemoOptions options, Progress& progress)
      : options_(std::move(options)), progress_(progress) {}

  /// On success everything still runs, for those who want to look around.
  Result<DemoReport> run();
  /// What a child got wrong; empty where `run` failed of something else.
  [[nodiscard]] const std::string& verdict() const noexcept { return verdict_; }
  [[nodiscard]] testbed::TwoMachines& machines() noexcept { return *machines_; }
  /// After a good run: reclaims the parent's image and sees everybody end with status 0.
  Result<void> finish();

 private:
  static constexpr int handler = 73;
  static constexpr unsigned parts = 8;
  static constexpr double slow_start_ms = 6000;

  Result<void> make_machines();
  Result<void> start_parent();
  Result<void> prepare();
  Result<void> resume(unsigned number);
  Result<void> compare();
  Result<void> verify();

  [[nodiscard]] testbed::ProcessSpec python();
  Result<void> show_part(unsigned part);
  Result<local::ListRow> row_of(const Program& child);
  [[nodiscard]] std::uint64_t wire_bytes() const;
  /// What must never be seen: it is told by `verdict`, not by an error code.
  Error wrong(std::string what) {
    verdict_ = std::move(what);
    return Errc::page_unavailable;
  }

  DemoOptions options_;
  Progress& progress_;
  DemoReport report_;
  std::optional<testbed::TwoMachines> machines_;
  std::optional<Program> parent_;
  std::vector<Program> children_;
  nlohmann::json prepared_;  ///< the parent's answer to prepare: key, checksums
  int counter_ = 0;          ///< of everybody, as it must be
  std::uint64_t wire_before_ = 0;
  std::string verdict_;
};

inline Result<DemoReport> Demo::run() {
  report_.policy = options_.policy;
  report_.size_mib = options_.size_mib;

  // 1. Two machines: a network namespace and an agent each, and a cable between.
  if (auto made = make_machines(); !made) return made.error();
  // 2. The program: numpy, its data, a counter. How long that takes is the cold start.
  if (auto started = start_parent(); !started) return started.error();
  // 3. It prepares itself, and goes on.
  if (auto done = prepare(); !done) return done.error();
  // 4. Children on the other machine; each answers a request right away.
  for (unsigned i = 1; i <= options_.children; ++i) {
    if (auto resumed = resume(i); !resumed) return resumed.error();
  }
  // 5. Side by side: the parent changes its data, the children still have the old.
  if (auto same = compare(); !same) return same.error();
  // 6. All of it once more, and what it took.
  if (auto right = verify(); !right) return right.error();
  return report_;
}

}  // namespace mitosis::tools

#include "demo_impl.hpp"
