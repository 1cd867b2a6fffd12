// SPDX-License-Identifier: MIT
// Callbacks of children whose parent was prepared from outside, by its pid. World: user.
// Such a child goes on at any instruction, maybe in the middle of malloc(3): it is told by a
// signal, and what is registered here runs as a signal handler does.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/client/identity.hpp>
#include <mitosis/fork/user/client/renew.hpp>
#include <mitosis/fork/user/client/shadows.hpp>
#include <mitosis/fork/user/local/resume_signal.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>

namespace mitosis::client {

/// Async-signal-safe: what a child must forget of its parent, whose memory it has.
inline void leave_the_parent(const local::Birth* birth) noexcept {
  detail::take_identity(birth);
  if (birth != nullptr && birth->socket[0] != '\0') connections().move_to(birth->socket);
  connections().disown();
  shadows().forget();
}

/// This process's. Nothing is ever removed: a handler may be running.
class ResumedCallbacks {
 public:
  static constexpr std::size_t most = 16;

  /// The signal that tells children; takes one at the first call, the highest real-time signal that
  /// is free. At each call the handler is put there again, where another one may have been set
  /// since. limit_exceeded where none is free.
  Result<int> signal() {
    const std::lock_guard lock(mutex_);
    for (int number = SIGRTMAX; signal_ == 0 && number >= SIGRTMIN; --number) {
      struct sigaction now = {};
      if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) signal_ = number;
    }
    if (signal_ == 0) return Error(Errc::limit_exceeded, "no real-time signal is free");
    struct sigaction action = {};
    action.sa_sigaction = &ResumedCallbacks::on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    if (::sigaction(signal_, &action, nullptr) != 0 || !mark()) {
      return Error(Errc::system_call_failed, "the resume signal", errno);
    }
    randomness().find();
    return signal_;
  }
  /// Runs in each such child, on its main thread before that goes on, in order of registration;
  /// must be async-signal-safe. The resume signal's number.
  Result<int> add(void (*call)(void*), void* data) {
    auto number = signal();
    if (!number) return number;
    const std::lock_guard lock(mutex_);
    const std::size_t at = count_.load();
    if (at == most) return Error(Errc::limit_exceeded, "16 callbacks are registered already");
    calls_[at] = {call, data};
    count_.store(at + 1);
    return number;
  }

 private:
  struct Call {
    void (*call)(void*) = nullptr;
    void* data = nullptr;
  };

  static void on_signal(int, siginfo_t* info, void*) noexcept;
  /// Maps the page by whose name a capture learns of the signal; in a child it is another one's.
  bool mark() noexcept {
    char name[sizeof local::resume_signal_name + 2] = {};
    std::memcpy(name, local::resume_signal_name, sizeof local::resume_signal_name - 1);
    char* const digits = name + sizeof local::resume_signal_name - 1;
    digits[0] = static_cast<char>('0' + signal_ / 10);
    digits[1] = static_cast<char>('0' + signal_ % 10);
    constexpr std::size_t page = 4096;
    const int fd = ::memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return false;
    void* const at =
        ::mmap(page_, page, PROT_READ, MAP_PRIVATE | (page_ != nullptr ? MAP_FIXED : 0), fd, 0);
    (void)::close(fd);
    if (at == MAP_FAILED) return false;
    page_ = at;
    return true;
  }

  std::mutex mutex_;
  int signal_ = 0;
  void* page_ = nullptr;
  std::array<Call, most> calls_ = {};
  std::atomic<std::size_t> count_{0};
};

inline ResumedCallbacks& resumed_callbacks() noexcept {
  static constinit ResumedCallbacks all;
  return all;
}

inline void ResumedCallbacks::on_signal(int, siginfo_t* info, void*) noexcept {
  if (info->si_code != SI_QUEUE || info->si_errno != local::resume_signal_errno) return;
  const int saved = errno;
  leave_the_parent(static_cast<const local::Birth*>(info->si_value.sival_ptr));
  ResumedCallbacks& own = resumed_callbacks();
  (void)own.mark();  // for the next hop
  for (std::size_t i = 0; i < own.count_.load(); ++i) own.calls_[i].call(own.calls_[i].data);
  errno = saved;
}

}  // namespace mitosis::client

namespace mitosis {

/// Has `call(data)` run in each child of this process that is prepared by its pid: see
/// client::ResumedCallbacks::add.
inline Result<void> at_resume(void (*call)(void*), void* data) {
  const auto number = client::resumed_callbacks().add(call, data);
  return number ? Result<void>() : Result<void>(number.error());
}

}  // namespace mitosis
