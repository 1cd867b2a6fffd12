// SPDX-License-Identifier: MIT
// PosixTimers: the parent's timer_create(2) timers, made ahead of time with their numbers.
// World: user. A program has these numbers in its memory, so they must be the same. They are made
// in the launcher, where a failure can still be told, and started by the child's restorer.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mitosis::restore {

/// How to get the numbers: by asking for them (Linux 6.15), or by counting up to them.
enum class TimerIds { automatic, counted };

/// Move-only; deletes what it has made.
class PosixTimers {
 public:
  PosixTimers() noexcept = default;
  PosixTimers(PosixTimers&& other) noexcept : made_(std::exchange(other.made_, {})) {
    launchers_ = std::move(other.launchers_);
  }
  PosixTimers& operator=(PosixTimers&& other) noexcept {
    std::swap(made_, other.made_);
    std::swap(launchers_, other.launchers_);
    return *this;
  }
  PosixTimers(const PosixTimers&) = delete;
  PosixTimers& operator=(const PosixTimers&) = delete;
  ~PosixTimers() {
    for (const int id : made_) (void)::syscall(SYS_timer_delete, id);
  }

  /// Not armed. unsupported_process names a timer that cannot be had, and why.
  static Result<PosixTimers> make(const DescriptorView& view, TimerIds how = TimerIds::automatic);

  /// The launcher's own, which the child must not have.
  [[nodiscard]] const std::vector<int>& launchers() const noexcept { return launchers_; }

 private:
  static constexpr int restore_ids = 77;  // PR_TIMER_CREATE_RESTORE_IDS: 0 off, 1 on
  /// A number further away is not counted up to: some 0.1 s.
  static constexpr int most_counted = 1 << 16;

  static Error refuse(std::int32_t id, const char* why, int err = 0) noexcept {
    Error error(Errc::unsupported_process, "POSIX timer ", err);
    descriptor::append_number(error.subject, static_cast<std::uint64_t>(id));
    error.subject.append(": ").append(why);
    return error.in("make its timers");
  }
  void find_launchers();
  Result<void> make_one(const descriptor::TimerRecord& timer, bool by_number);

  std::vector<int> made_;
  std::vector<int> launchers_;
};

inline void PosixTimers::find_launchers() {
  const UniqueFd fd(::open("/proc/self/timers", O_RDONLY | O_CLOEXEC));
  std::string text(4096, '\0');
  std::size_t used = 0;
  while (fd) {
    const ssize_t n = ::read(fd.get(), text.data() + used, text.size() - used);
    if (n <= 0) break;
    used += static_cast<std::size_t>(n);
    if (used == text.size()) text.resize(2 * used);
  }
  std::string_view rest = std::string_view(text).substr(0, used);
  constexpr std::string_view key = "ID: ";
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    int id = 0;
    if (line.starts_with(key) &&
        std::from_chars(line.data() + key.size(), line.data() + line.size(), id).ec ==
            std::errc{}) {
      launchers_.push_back(id);
    }
  }
}

inline Result<void> PosixTimers::make_one(const descriptor::TimerRecord& timer, bool by_number) {
  sigevent event;
  std::memset(&event, 0, sizeof event);
  event.sigev_notify = static_cast<int>(timer.notify);
  event.sigev_signo = static_cast<int>(timer.signal);
  std::memcpy(&event.sigev_value, &timer.value, sizeof timer.value);
  if (descriptor::TimerNotify{timer.notify} == descriptor::TimerNotify::thread_signal) {
    // The only thread; the field has no name of its own in every libc.
    const auto tid = static_cast<std::int32_t>(::syscall(SYS_gettid));
    std::memcpy(reinterpret_cast<char*>(&event) + 16, &tid, sizeof tid);
  }
  for (int tries = 0; tries < most_counted; ++tries) {
    int id = timer.id;
    if (::syscall(SYS_timer_create, timer.clock, &event, &id) != 0) {
      return refuse(timer.id, errno == EBUSY ? "its number is taken here" : "timer_create", errno);
    }
    if (id == timer.id) {
      made_.push_back(id);
      return {};
    }
    (void)::syscall(SYS_timer_delete, id);
    if (by_number || id > timer.id) break;
  }
  return refuse(timer.id, "its number cannot be had here; resume from a fresh process");
}

inline Result<PosixTimers> PosixTimers::make(const DescriptorView& view, TimerIds how) {
  PosixTimers timers;
  timers.find_launchers();
  if (view.timers().size() == 0) return timers;
  const bool by_number = how == TimerIds::automatic && ::prctl(restore_ids, 1, 0, 0, 0) == 0;
  Result<void> made;
  for (const descriptor::TimerRecord& timer : view.timers()) {
    if (descriptor::TimerNotify{timer.notify} == descriptor::TimerNotify::thread_signal &&
        timer.tid != view.threads()[0].tid) {
      made = refuse(timer.id, "it signals a thread that is not the first");
    } else {
      made = timers.make_one(timer, by_number);
    }
    if (!made) break;
  }
  if (by_number) (void)::prctl(restore_ids, 0, 0, 0, 0);
  if (!made) return made.error();
  return timers;
}

}  // namespace mitosis::restore
