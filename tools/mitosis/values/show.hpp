// SPDX-License-Identifier: MIT
// Quantities as a person reads them: "1.5 GiB", "2 m 5 s". World: user.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace mitosis::tools {

/// Three digits and a binary unit; bytes below 1 KiB are exact.
inline std::string show_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1023.5) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.{}f} {}", value, value < 9.95 ? 2 : value < 99.5 ? 1 : 0, unit);
}

/// "350 ms", "12.3 s", "5 m 10 s", "3 h 5 m".
inline std::string show_time(double ms) {
  if (ms < 10) return fmt::format("{:.2f} ms", ms);
  if (ms < 999.5) return fmt::format("{:.0f} ms", ms);
  if (ms < 99'950) return fmt::format("{:.{}f} s", ms / 1000, ms < 9'995 ? 2 : 1);
  const auto seconds = static_cast<std::uint64_t>(ms / 1000);
  if (seconds < 3600) return fmt::format("{} m {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} m", seconds / 3600, seconds / 60 % 60);
}

}  // namespace mitosis::tools
