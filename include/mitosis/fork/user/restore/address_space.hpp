// SPDX-License-Identifier: MIT
// AddressSpace: what is mapped in the calling process. World: user.
// The launcher needs room that neither it nor its child uses, and its own vdso, which moves.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/page.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::restore {

/// [start, end) in bytes.
struct Range {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept { return end - start; }
  [[nodiscard]] constexpr bool empty() const noexcept { return end == start; }
  friend constexpr bool operator==(const Range&, const Range&) noexcept = default;
};

struct AddressSpace {
  std::vector<Range> mapped;  ///< ascending, neighbours joined
  Range vvar;                 ///< empty where the kernel has none
  Range vvar_vclock;
  Range vdso;
};

namespace detail {
/// The hexadecimal number at `text`, which is moved behind it.
inline std::uint64_t hexadecimal(const char*& text) noexcept {
  std::uint64_t value = 0;
  for (;; ++text) {
    const char c = *text;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return value;
    value = value << 4 | static_cast<std::uint64_t>(digit);
  }
}
}  // namespace detail

/// Reads the text of a /proc/PID/maps.
inline AddressSpace parse_maps(std::string_view text) {
  AddressSpace space;
  while (!text.empty()) {
    const std::size_t line_end = text.find('\n');
    if (line_end == std::string_view::npos) break;  // every line has one
    const std::string_view line = text.substr(0, line_end);
    text.remove_prefix(line_end + 1);
    const char* at = line.data();
    Range range;
    range.start = detail::hexadecimal(at);
    ++at;
    range.end = detail::hexadecimal(at);
    if (line.ends_with("[vdso]")) space.vdso = range;
    if (line.ends_with("[vvar]")) space.vvar = range;
    if (line.ends_with("[vvar_vclock]")) space.vvar_vclock = range;
    if (!space.mapped.empty() && space.mapped.back().end == range.start) {
      space.mapped.back().end = range.end;
    } else {
      space.mapped.push_back(range);
    }
  }
  return space;
}

/// The calling process's. Anything that it maps afterwards is not in it.
inline Result<AddressSpace> read_address_space() {
  const UniqueFd fd(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  std::string text(std::size_t{32} << 10, '\0');
  std::size_t used = 0;
  for (;;) {
    if (used == text.size()) text.resize(2 * used);
    const ssize_t n = fd ? ::read(fd.get(), text.data() + used, text.size() - used) : -1;
    if (n == 0) break;
    if (n > 0) {
      used += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      return Error(Errc::system_call_failed, "/proc/self/maps", errno).in("look at own memory");
    }
  }
  return parse_maps(std::string_view(text).substr(0, used));
}

}  // namespace mitosis::restore
