// SPDX-License-Identifier: MIT
// Recorder: counts and times each step of a child's faults. World: any (freestanding).
// With Profile<Off> it is an empty class whose calls compile to nothing.
#pragma once

#include <mitosis/net/fabric.hpp>
#include <mitosis/policy/axes.hpp>

#include <bit>
#include <cstdint>

namespace mitosis {

/// The steps that are timed. `plan`: deciding. `read`: from the post to its end. `fallback`: the
/// same through the owner's CPU. `install`: putting a read's pages in place. `fault`: from the
/// fault of a page that had to be read to the page in place.
enum class ProfileStep : std::uint8_t { plan, read, fallback, install, fault, last = fault };

/// A histogram of durations: bucket i counts those of [2^(i-1), 2^i) ns; the last one the rest.
struct Histogram {
  static constexpr unsigned buckets = 40;
  std::uint64_t counts[buckets] = {};
  std::uint64_t count = 0;
  std::uint64_t total_ns = 0;

  void add(std::uint64_t ns) noexcept {
    const auto bucket = static_cast<unsigned>(std::bit_width(ns));
    ++counts[bucket < buckets ? bucket : buckets - 1];
    ++count;
    total_ns += ns;
  }
  void add(const Histogram& other) noexcept {
    for (unsigned i = 0; i < buckets; ++i) counts[i] += other.counts[i];
    count += other.count;
    total_ns += other.total_ns;
  }
};

template <SwitchValue X>
class Recorder;

/// Histograms of every step.
template <>
class Recorder<On> {
 public:
  static constexpr bool enabled = true;
  void record(ProfileStep step, Time from, Time to) noexcept {
    const auto a = static_cast<std::uint64_t>(from);
    const auto b = static_cast<std::uint64_t>(to);
    steps_[static_cast<unsigned>(step)].add(b > a ? b - a : 0);
  }
  [[nodiscard]] const Histogram& of(ProfileStep step) const noexcept {
    return steps_[static_cast<unsigned>(step)];
  }

 private:
  Histogram steps_[static_cast<unsigned>(ProfileStep::last) + 1];
};

/// Nothing.
template <>
class Recorder<Off> {
 public:
  static constexpr bool enabled = false;
  void record(ProfileStep, Time, Time) noexcept {}
};

}  // namespace mitosis
