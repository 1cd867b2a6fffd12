// SPDX-License-Identifier: MIT
// ProfileBook: what policies with Profile<On> have recorded on this machine. World: user.
#pragma once

#include <nlohmann/json.hpp>

#include <mitosis/fork/profile.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace mitosis::agent {

/// Histograms by the name of a step ("resume.fetch", "fault.read"). Thread-safe.
class ProfileBook {
 public:
  void add(const std::string& step, const Histogram& histogram) {
    if (histogram.count == 0) return;
    const std::lock_guard lock(mutex_);
    steps_[step].add(histogram);
  }
  void add(const std::string& step, std::uint64_t ns) {
    const std::lock_guard lock(mutex_);
    steps_[step].add(ns);
  }
  /// {step: {count, mean_us, p50_us, p99_us}}; percentiles are upper bounds of log2 buckets.
  [[nodiscard]] nlohmann::json json() const {
    const std::lock_guard lock(mutex_);
    nlohmann::json all = nlohmann::json::object();
    for (const auto& [step, h] : steps_) {
      all[step] = {
          {"count", h.count},
          {"mean_us", static_cast<double>(h.total_ns) / 1e3 / static_cast<double>(h.count)},
          {"p50_us", percentile_us(h, 0.50)},
          {"p99_us", percentile_us(h, 0.99)}};
    }
    return all;
  }
  void copy_to(ProfileBook& other) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [step, h] : steps_) other.add(step, h);
  }

 private:
  static double percentile_us(const Histogram& h, double part) {
    std::uint64_t seen = 0;
    for (unsigned i = 0; i < Histogram::buckets; ++i) {
      seen += h.counts[i];
      if (static_cast<double>(seen) >= part * static_cast<double>(h.count)) {
        return static_cast<double>(std::uint64_t{1} << i) / 1e3;
      }
    }
    return 0;
  }
  mutable std::mutex mutex_;
  std::map<std::string, Histogram> steps_;
};

/// Times the steps of one prepare or resume; does nothing unless its policy is profiled.
class StepTimer {
 public:
  StepTimer(ProfileBook& book, bool enabled) noexcept
      : book_(enabled ? &book : nullptr), from_(enabled ? tcp::monotonic_now() : Time{}) {}
  /// The step that ends now.
  void done(const char* step) {
    if (book_ == nullptr) return;
    const Time now = tcp::monotonic_now();
    book_->add(step, static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(from_));
    from_ = now;
  }

 private:
  ProfileBook* book_;
  Time from_;
};

}  // namespace mitosis::agent
