// SPDX-License-Identifier: MIT
// What a mapping is to a descriptor, and which mappings cannot be captured. World: user.
#pragma once

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <string_view>

namespace mitosis::capture {

/// The name that our own memfds carry, as /proc/PID/maps shows it: memory of a resumed child.
inline constexpr std::string_view own_memfd = "/memfd:mitosis";

/// A segment of System V shared memory: its inode is the segment's id, not a number of its device.
inline bool is_segment(const Mapping& m) noexcept {
  return m.shared && m.path.starts_with("/SYSV");
}

/// Shared memory that no path leads to on another machine: its content comes along. (What is
/// private of a file that is gone comes along page by page, as of any file that differs.)
inline bool is_shared_object(const Mapping& m) noexcept {
  if (!m.shared) return false;
  const std::string_view path = m.path;
  if (path.starts_with("/anon_hugepage") || path.starts_with("/[aio]") ||
      path.starts_with("/secretmem")) {
    return false;
  }
  return path.empty() || path.starts_with("[anon_shmem") || path.starts_with("/dev/zero") ||
         path.starts_with("/memfd:") || path.starts_with("/dev/shm/") ||
         (path.starts_with('/') && path.ends_with(deleted_suffix));
}

namespace detail {

/// Why the mapping cannot be captured; empty where it can.
inline std::string_view cannot_be_captured(const Mapping& m) noexcept {
  const std::string_view path = m.path;
  if (path.starts_with("anon_inode:")) return "a kernel object";
  if (path.starts_with("/anon_hugepage")) return "huge pages of hugetlbfs";
  if (path.starts_with("/[aio]")) return "an asynchronous I/O context";
  if (path.starts_with("socket:")) return "a socket's ring";
  if (path == "/dev/zero") return "";
  if (path.starts_with("/secretmem")) return "secret memory";
  if (is_shared_object(m) || path.starts_with("/memfd:")) return "";
  if (path.starts_with("/dev/") && !path.starts_with("/dev/shm/")) return "a device";
  if (!path.empty() && !path.starts_with('/') && !path.starts_with('[')) return "of no known kind";
  return "";
}

}  // namespace detail

/// Refuses a mapping that cannot be captured, by what it is and where.
inline Result<void> check_mapping(const Mapping& m) {
  const std::string_view what = detail::cannot_be_captured(m);
  if (what.empty()) return {};
  const std::string about = fmt::format("the memory at {:x}-{:x} ({}) is {}", m.start, m.end,
                                        m.path.empty() ? "no name" : m.path, what);
  return Error(Errc::unsupported_process, about.c_str()).in("check memory");
}

/// The same for the first of many.
inline Result<void> check_mappings(const std::vector<Mapping>& mappings) {
  for (const Mapping& m : mappings) {
    if (Result<void> ok = check_mapping(m); !ok) return ok;
  }
  return {};
}

/// The kind of a mapping that can be captured. Children's private memfds are anonymous memory.
inline descriptor::VmaKind kind_of(const Mapping& m) noexcept {
  using descriptor::VmaKind;
  if (m.path == "[stack]") return VmaKind::stack;
  if (m.path == "[vdso]") return VmaKind::vdso;
  if (m.path == "[vvar]") return VmaKind::vvar;
  if (m.path == "[vvar_vclock]") return VmaKind::vvar_vclock;
  if (is_shared_object(m)) return VmaKind::shared_object;
  if (!m.path.starts_with('/') || m.path == "/dev/zero" || m.path.starts_with(own_memfd)) {
    return VmaKind::anonymous;
  }
  return m.shared ? VmaKind::shared_file : VmaKind::private_file;
}

}  // namespace mitosis::capture
