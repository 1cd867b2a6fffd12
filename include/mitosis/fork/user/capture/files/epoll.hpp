// SPDX-License-Identifier: MIT
// read_epoll(): what an epoll set watches. World: user.
#pragma once

#include <mitosis/fork/user/capture/files/target.hpp>
#include <mitosis/fork/user/files/payload.hpp>
#include <mitosis/fork/user/files/watches.hpp>

#include <optional>

namespace mitosis::capture {

namespace detail {

/// The next blank-separated word of a line.
inline std::string_view word(std::string_view& line) noexcept {
  while (line.starts_with(' ')) line.remove_prefix(1);
  return take_until(line, ' ');
}

/// "tfd:        5 events:       1d data:         ffffffff  pos:0 ino:61af sdev:7"
inline std::optional<files::EpollEntry> parse_epoll_line(std::string_view line) noexcept {
  files::EpollEntry entry;
  if (word(line) != "tfd:") return std::nullopt;
  const auto fd = number<std::int32_t>(word(line));
  if (word(line) != "events:") return std::nullopt;
  const auto events = number<std::uint32_t>(word(line), 16);
  if (word(line) != "data:") return std::nullopt;
  const auto data = number(word(line), 16);
  if (!fd || !events || !data) return std::nullopt;
  entry.number = *fd;
  entry.events = *events;
  entry.data = *data;
  return entry;
}

/// A descriptor of the process that is the file of this entry; -1 where it has none.
inline std::int32_t source_of(const Target& target, const std::vector<OpenFile>& all,
                              const OpenFile& set, const files::EpollEntry& entry,
                              std::uint32_t nth) noexcept {
  for (const OpenFile& file : all) {  // as a rule it is still where it was
    if (file.fd == entry.number && target.watches(set, entry.number, nth, file)) return file.fd;
  }
  for (const OpenFile& file : all) {
    if (file.same_as < 0 && target.watches(set, entry.number, nth, file)) return file.fd;
  }
  return -1;
}

}  // namespace detail

inline Result<void> read_epoll(Target& target, const std::vector<OpenFile>& all, OpenFile& file) {
  files::Epoll set;
  std::string_view text = file.info;
  while (!text.empty()) {
    const std::string_view line = take_until(text, '\n');
    if (!line.starts_with("tfd:")) continue;
    auto entry = detail::parse_epoll_line(line);
    if (!entry) return refuse_file(file, "an epoll set whose fdinfo cannot be read");
    // Files that had the same number one after the other: the kernel counts them in this order.
    std::uint32_t nth = 0;
    for (const files::EpollEntry& other : set.entries) nth += other.number == entry->number;
    entry->source = detail::source_of(target, all, file, *entry, nth);
    if (entry->source < 0 || (entry->source != entry->number && entry->number <= 2)) {
      return refuse_file(file, fmt::format("an epoll set that watches a file, added as descriptor "
                                           "{}, which the process has no more",
                                           entry->number));
    }
    set.entries.push_back(*entry);
  }
  file.data = files::encode(set);
  return {};
}

}  // namespace mitosis::capture
