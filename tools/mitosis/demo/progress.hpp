// SPDX-License-Identifier: MIT
// Progress: what the demo is doing, as it does it. World: user.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace mitosis::tools {

/// Lines on one stream, each with the seconds since the start.
class Progress {
 public:
  explicit Progress(std::FILE* out) noexcept : out_(out) {}

  /// Begins a step; its line is finished by `done` or by the next step.
  void step(const std::string& what) {
    finish();
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
    fmt::print(out_, "[{:5.1f} s] {} ...", since.count(), what);
    std::fflush(out_);
    open_ = true;
  }
  void done(const std::string& outcome = {}) {
    if (!open_) return;
    fmt::print(out_, " {}\n", outcome.empty() ? "done" : outcome);
    std::fflush(out_);
    open_ = false;
  }
  /// A line of its own.
  void say(const std::string& line) {
    finish();
    fmt::print(out_, "{}\n", line);
    std::fflush(out_);
  }
  void finish() {
    if (open_) fmt::print(out_, "\n");
    std::fflush(out_);  // an error on another stream begins a line of its own
    open_ = false;
  }

 private:
  std::FILE* out_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool open_ = false;
};

}  // namespace mitosis::tools
