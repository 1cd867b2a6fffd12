// SPDX-License-Identifier: MIT
// The floor of bulk reads, second part: how long the kernel takes to install so many bytes by
// UFFDIO_COPY. World: user.
#pragma once

#include <floors/userfault.hpp>
#include <harness/clock.hpp>
#include <harness/memory.hpp>

#include <optional>

namespace bench {

/// Nanoseconds for all of it in calls of `chunk` bytes. The source is one hot chunk, as where a
/// fabric's buffers are reused: the best that an installer can do.
inline std::optional<double> uffd_copy_ns(std::size_t bytes, std::size_t chunk) {
  const Memory target(bytes);
  const Memory source(chunk);
  if (!target.ok() || !source.ok()) return std::nullopt;
  source.touch();
  const Userfault fault(target);
  if (!fault.ok()) return std::nullopt;
  const auto base = reinterpret_cast<std::uint64_t>(target.data());
  const std::int64_t start = now_ns();
  for (std::size_t at = 0; at < bytes; at += chunk) {
    if (!uffd_copy(fault.fd(), base + at, source.data(), std::min(chunk, bytes - at))) {
      return std::nullopt;
    }
  }
  return static_cast<double>(now_ns() - start);
}

/// With the best of the usual chunk sizes.
inline std::optional<double> best_uffd_copy_ns(std::size_t bytes) {
  std::optional<double> best;
  for (std::size_t chunk = 64 * 1024; chunk <= mib; chunk *= 4) {
    const std::optional<double> took = uffd_copy_ns(bytes, chunk);
    if (!took) return std::nullopt;
    if (!best || *took < *best) best = took;
  }
  return best;
}

}  // namespace bench
