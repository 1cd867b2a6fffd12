// SPDX-License-Identifier: MIT
// read_eventfd(), read_timerfd(), read_signalfd(): from fdinfo, proc(5). World: user.
#pragma once

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <mitosis/fork/user/capture/files/target.hpp>
#include <mitosis/fork/user/files/counters.hpp>
#include <mitosis/fork/user/files/payload.hpp>

namespace mitosis::capture {

namespace detail {

/// Whether an eventfd that has `count` counts down by one. Before Linux 6.5 fdinfo does not say,
/// and only a read tells; what it takes is put back before the process runs on.
inline Result<bool> is_semaphore(int eventfd, std::uint64_t count) {
  const auto bad = [] {
    return Error(Errc::system_call_failed, "eventfd", errno).in("check open files");
  };
  const std::uint64_t two = 2;
  std::uint64_t got = 0;
  const bool add = count < 2;  // of 1 either kind reads 1
  if (add && ::write(eventfd, &two, sizeof two) != ssize_t{sizeof two}) return bad();
  if (::read(eventfd, &got, sizeof got) != ssize_t{sizeof got}) return bad();
  if (got != 1) {
    if (count > 0 && ::write(eventfd, &count, sizeof count) != ssize_t{sizeof count}) return bad();
    return false;
  }
  if (!add)
    return ::write(eventfd, &got, sizeof got) == ssize_t{sizeof got} ? Result<bool>(true)
                                                                     : Result<bool>(bad());
  if (::read(eventfd, &got, sizeof got) != ssize_t{sizeof got}) return bad();
  return true;
}

/// "(7, 640020877)" in nanoseconds.
inline std::optional<std::int64_t> parenthesised_ns(std::string_view text) noexcept {
  if (!text.starts_with('(') || !text.ends_with(')')) return std::nullopt;
  text = text.substr(1, text.size() - 2);
  const auto seconds = number<std::int64_t>(take_until(text, ','));
  if (text.starts_with(' ')) text.remove_prefix(1);
  const auto nanoseconds = number<std::int64_t>(text);
  if (!seconds || !nanoseconds || *seconds > INT64_MAX / 1'000'000'000 - 1) return std::nullopt;
  return *seconds * 1'000'000'000 + *nanoseconds;
}

inline Error unreadable(const OpenFile& file) {
  return refuse_file(file, "of a state that fdinfo does not tell");
}

}  // namespace detail

inline Result<void> read_eventfd(Target& target, const std::vector<OpenFile>&, OpenFile& file) {
  files::Eventfd event;
  const auto count = number(field(file.info, "eventfd-count"), 16);
  if (!count) return detail::unreadable(file);
  event.count = *count;
  if (const std::string_view told = field(file.info, "eventfd-semaphore"); !told.empty()) {
    event.semaphore = told != "0";
  } else {
    Result<UniqueFd> copy = target.duplicate(file);
    if (!copy) return copy.error();
    const Result<bool> found = detail::is_semaphore(copy->get(), event.count);
    if (!found) return found.error();
    event.semaphore = *found;
  }
  file.data = files::encode(event);
  return {};
}

inline Result<void> read_timerfd(Target&, const std::vector<OpenFile>&, OpenFile& file) {
  files::Timerfd timer;
  const auto clock = number<std::uint32_t>(field(file.info, "clockid"));
  const auto ticks = number(field(file.info, "ticks"));
  const auto flags = number<std::uint32_t>(field(file.info, "settime flags"), 8);
  const auto left = detail::parenthesised_ns(field(file.info, "it_value"));
  const auto interval = detail::parenthesised_ns(field(file.info, "it_interval"));
  if (!clock || !ticks || !flags || !left || !interval) return detail::unreadable(file);
  timer = {*clock, *flags, *left, *interval, 0, *ticks};
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  timer.expiry_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec + *left;
  file.data = files::encode(timer);
  return {};
}

inline Result<void> read_signalfd(Target&, const std::vector<OpenFile>&, OpenFile& file) {
  const auto mask = number(field(file.info, "sigmask"), 16);
  if (!mask) return detail::unreadable(file);
  file.data = files::encode(files::Signalfd{*mask});
  return {};
}

}  // namespace mitosis::capture
