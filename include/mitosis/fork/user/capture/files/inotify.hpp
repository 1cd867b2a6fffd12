// SPDX-License-Identifier: MIT
// read_inotify(): what an inotify instance watches, by path. World: user.
// The kernel tells inodes and file handles, no paths: a handle is opened (CAP_DAC_READ_SEARCH), and
// the path read off.
#pragma once

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <mitosis/fork/user/capture/files/epoll.hpp>

#include <algorithm>
#include <cstring>
#include <map>

namespace mitosis::capture {

namespace detail {

/// "inotify wd:1 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1
/// f_handle:7e9e0000640d1b6d", proc(5).
struct SeenWatch {
  files::InotifyWatch watch;
  std::uint64_t inode = 0;
  dev_t device = 0;
  alignas(file_handle) char handle[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
};

inline bool parse_handle(std::string_view hex, int type, SeenWatch& seen) noexcept {
  file_handle head = {};
  head.handle_bytes = static_cast<unsigned>(hex.size() / 2);
  head.handle_type = type;
  if (hex.size() % 2 != 0 || head.handle_bytes > MAX_HANDLE_SZ) return false;
  std::memcpy(seen.handle, &head, sizeof head);
  for (std::size_t i = 0; i < head.handle_bytes; ++i) {
    const auto byte = number<std::uint8_t>(hex.substr(2 * i, 2), 16);
    if (!byte) return false;
    std::memcpy(seen.handle + sizeof head + i, &*byte, 1);
  }
  return true;
}

inline std::optional<SeenWatch> parse_watch(std::string_view line) noexcept {
  std::string_view wd, ino, sdev, mask, type, handle;
  while (!line.empty()) {
    std::string_view text = word(line);
    const std::string_view key = take_until(text, ':');
    if (key == "wd") wd = text;
    if (key == "ino") ino = text;
    if (key == "sdev") sdev = text;
    if (key == "mask") mask = text;
    if (key == "fhandle-type") type = text;
    if (key == "f_handle") handle = text;
  }
  SeenWatch seen;
  const auto number_of = number<std::int32_t>(wd, 16);  // "wd:%x"
  const auto inode = number(ino, 16);
  const auto device = number(sdev, 16);
  const auto events = number<std::uint32_t>(mask, 16);
  const auto kind = number<int>(type, 16);
  if (!number_of || !inode || !device || !events || !kind) return std::nullopt;
  seen.watch.wd = *number_of;
  seen.watch.mask = *events;
  seen.inode = *inode;
  // The kernel's own encoding.
  seen.device =
      makedev(static_cast<unsigned>(*device >> 20), static_cast<unsigned>(*device & 0xfffff));
  if (!parse_handle(handle, *kind, seen)) return std::nullopt;
  return seen;
}

/// Where the filesystems of a process are mounted: "36 35 98:0 /root /mnt ..." of mountinfo.
inline std::multimap<dev_t, std::string> mounts_of(int process) {
  std::multimap<dev_t, std::string> mounts;
  const Result<std::vector<char>> text = read_at(process, "mountinfo", 1u << 20);
  std::string_view lines = text ? view(*text) : std::string_view{};
  while (!lines.empty()) {
    std::string_view line = take_until(lines, '\n');
    (void)word(line), (void)word(line);
    std::string_view device = word(line);
    (void)word(line);
    const std::string_view at = word(line);
    const auto high = number<unsigned>(take_until(device, ':'));
    const auto low = number<unsigned>(device);
    if (high && low) mounts.emplace(makedev(*high, *low), at);
  }
  return mounts;
}

/// The path of a watched file as the process would write it, or "".
inline std::string path_of(const Target& target, SeenWatch& seen,
                           const std::multimap<dev_t, std::string>& mounts) {
  const auto [first, end] = mounts.equal_range(seen.device);
  for (auto mount = first; mount != end; ++mount) {
    const std::string there = "root" + mount->second;
    const UniqueFd at(::openat(target.process(), there.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!at) continue;
    const UniqueFd file(::open_by_handle_at(at.get(), reinterpret_cast<file_handle*>(seen.handle),
                                            O_PATH | O_CLOEXEC));
    if (!file) continue;
    const std::string self = "/proc/self/fd/" + std::to_string(file.get());
    const Result<std::string> link = link_at(AT_FDCWD, self.c_str());
    struct stat is = {};
    if (!link || !link->starts_with('/')) continue;
    // What is outside of the mount, or of the process's root, does not lie at that path.
    if (::fstatat(target.process(), ("root" + *link).c_str(), &is, AT_SYMLINK_NOFOLLOW) == 0 &&
        is.st_ino == seen.inode && is.st_dev == seen.device) {
      return *link;
    }
  }
  return {};
}

}  // namespace detail

/// Refused with events that nobody has read: they cannot be put back.
inline Result<void> read_inotify(Target& target, const std::vector<OpenFile>&, OpenFile& file) {
  Result<UniqueFd> copy = target.duplicate(file);
  if (!copy) return copy.error();
  int waiting = 0;
  if (::ioctl(copy->get(), FIONREAD, &waiting) != 0 || waiting != 0) {
    return refuse_file(file, "an inotify instance with events that have not been read");
  }
  files::Inotify inotify;
  const std::multimap<dev_t, std::string> mounts = detail::mounts_of(target.process());
  std::string_view text = file.info;
  while (!text.empty()) {
    const std::string_view line = take_until(text, '\n');
    if (!line.starts_with("inotify ")) continue;
    auto seen = detail::parse_watch(line.substr(8));
    if (seen) seen->watch.path = detail::path_of(target, *seen, mounts);
    if (!seen || seen->watch.path.empty()) {
      return refuse_file(file, "an inotify instance that watches a file without a path");
    }
    inotify.watches.push_back(seen->watch);
  }
  const auto by_number = [](const auto& a, const auto& b) { return a.wd < b.wd; };
  std::sort(inotify.watches.begin(), inotify.watches.end(), by_number);
  file.data = files::encode(inotify);
  return {};
}

}  // namespace mitosis::capture
