// SPDX-License-Identifier: MIT
// The checks of a descriptor's other sections: strings, machine, threads, sigactions, files,
// limits, auxv, vdso. World: any (freestanding). As in check_memory.hpp, Errc::ok means fine.
#pragma once

#include <mitosis/mem/descriptor/check_memory.hpp>

namespace mitosis::descriptor {

inline constexpr std::uint32_t signals = 64;
inline constexpr std::int32_t max_fd = 1 << 20;
/// Far above any CPU's (AMX: 11 KiB), far below what would hurt to allocate for a thread.
inline constexpr std::uint64_t max_xstate_bytes = std::uint64_t{1} << 16;
inline constexpr std::size_t max_threads = 1 << 16;
inline constexpr std::size_t max_limits = 64;
/// Several times any kernel's.
inline constexpr std::size_t max_vdso_bytes = 1 << 16;

/// One zero at the end terminates every string, wherever it starts.
inline Error check_strings(const Sections& s) noexcept {
  const Bytes strings = s.bytes(Tag::strings);
  if (strings.empty()) return refuse("strings", "empty");
  if (strings[strings.size() - 1] != 0) return refuse("strings", "not zero-terminated");
  return {};
}

inline Error check_machine(const Sections& s) noexcept {
  if (s.bytes(Tag::machine).size() != sizeof(MachineRecord)) {
    return refuse("machine", "not one record");
  }
  const MachineRecord m = s.records<MachineRecord>(Tag::machine)[0];
  if (m.xstate_size > max_xstate_bytes) return refuse("machine.xstate_size", "over 64 KiB");
  if (!string_ok_or_none(s, m.kernel_release)) {
    return refuse("machine.kernel_release", "no such string");
  }
  if (!string_ok_or_none(s, m.cpu_features)) {
    return refuse("machine.cpu_features", "no such string");
  }
  return {};
}

inline Error check_threads(const Sections& s) noexcept {
  if (!whole<ThreadRecord>(s.bytes(Tag::threads))) return refuse("threads", "not whole records");
  const auto threads = s.records<ThreadRecord>(Tag::threads);
  if (threads.empty()) return refuse("threads", "none");
  if (threads.size() > max_threads) return refuse("threads", "over 65536");
  const std::uint64_t xstate = s.bytes(Tag::xstate).size();
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const ThreadRecord t = threads[i];
    const auto bad = [i](const char* f, const char* why) {
      return refuse(Tag::threads, i, f, why);
    };
    if (t.xstate_bytes > max_xstate_bytes) return bad("xstate_bytes", "over 64 KiB");
    if (t.xstate_offset > xstate) return bad("xstate_offset", "past the xstate section");
    if (t.xstate_bytes > xstate - t.xstate_offset) {
      return bad("xstate_bytes", "past the xstate section");
    }
    if (!terminated(t.name)) return bad("name", "not zero-terminated");
    if (t.reserved != 0) return bad("reserved", "not zero");
  }
  return {};
}

/// Optional: without it every signal has its default action.
inline Error check_sigactions(const Sections& s) noexcept {
  if (s.has(Tag::sigactions) &&
      s.bytes(Tag::sigactions).size() != signals * sizeof(SigactionRecord)) {
    return refuse("sigactions", "not 64 records");
  }
  return {};
}

/// The payload that a FileRecord's `data` names; null where there is none or it is out of bounds.
inline Bytes payload_of(Bytes file_data, std::uint32_t data) noexcept {
  constexpr std::size_t head = sizeof(std::uint32_t);
  if (data == 0 || file_data.size() < head || data - 1 > file_data.size() - head) return {};
  std::uint32_t length;
  __builtin_memcpy(&length, file_data.data() + (data - 1), head);
  if (length > file_data.size() - head - (data - 1)) return {};
  return file_data.sub(data - 1 + head, length);
}

/// These are reopened by their path.
constexpr bool needs_path(std::uint32_t file_kind) noexcept {
  return file_kind <= static_cast<std::uint32_t>(FileKind::character_device);
}

inline Error check_files(const Sections& s) noexcept {
  if (!whole<FileRecord>(s.bytes(Tag::files))) return refuse("files", "not whole records");
  const auto files = s.records<FileRecord>(Tag::files);
  // Ascending, so an earlier descriptor is found by halving.
  const auto earlier = [&files](std::size_t before, std::int32_t fd) {
    std::size_t low = 0;
    while (low < before) {
      const std::size_t middle = low + (before - low) / 2;
      const std::int32_t here = files[middle].fd;
      if (here == fd) return true;
      if (here < fd) {
        low = middle + 1;
      } else {
        before = middle;
      }
    }
    return false;
  };
  std::int32_t last = -1;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const FileRecord f = files[i];
    const auto bad = [i](const char* n, const char* why) { return refuse(Tag::files, i, n, why); };
    if (f.fd < 0 || f.fd > max_fd) return bad("fd", "not from 0 to 1048576");
    if (f.fd <= last) return bad("fd", "not above the previous one");
    last = f.fd;
    constexpr auto stream = static_cast<std::uint32_t>(FileKind::standard_stream);
    constexpr auto last_kind = static_cast<std::uint32_t>(FileKind::inherited);
    if (f.kind == 0 || f.kind > last_kind) return bad("kind", "unknown");
    // A copy of one (dup) may have any number.
    if (f.kind == stream && f.fd > 2 && f.same_as < 0) {
      return bad("kind", "a standard stream above 2");
    }
    if (!string_ok_or_none(s, f.path)) return bad("path", "no such string");
    if (needs_path(f.kind) && f.same_as < 0 && !path_ok(s, f.path)) return bad("path", "missing");
    if (f.offset > ~std::uint64_t{0} >> 1) return bad("offset", "past the largest file");
    if (f.same_as != -1 && !earlier(i, f.same_as)) return bad("same_as", "no earlier descriptor");
    if (f.data != 0 && payload_of(s.bytes(Tag::file_data), f.data).data() == nullptr) {
      return bad("data", "past the file_data section");
    }
  }
  return {};
}

inline Error check_limits(const Sections& s) noexcept {
  if (!whole<LimitRecord>(s.bytes(Tag::limits))) return refuse("limits", "not whole records");
  const auto limits = s.records<LimitRecord>(Tag::limits);
  if (limits.size() > max_limits) return refuse("limits", "over 64");
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const LimitRecord l = limits[i];
    if (l.soft > l.hard) return refuse(Tag::limits, i, "soft", "above the hard limit");
  }
  return {};
}

/// Optional: a child on another kernel needs it. What is inside is for its reader to check.
inline Error check_vdso(const Sections& s) noexcept {
  if (s.bytes(Tag::vdso).size() > max_vdso_bytes) return refuse("vdso", "over 64 KiB");
  return {};
}

inline Error check_auxv(const Sections& s) noexcept {
  if (s.bytes(Tag::auxv).size() % 16 != 0) return refuse("auxv", "not whole entries");
  return {};
}

}  // namespace mitosis::descriptor
