// SPDX-License-Identifier: MIT
// TracedThread: one thread of another process that this one traces. World: user.
// Whatever is done to it, it goes on as if it had not been: its registers and signal mask are put
// back, and an interrupted system call is restarted by the kernel itself, which knows what is left
// of a timeout and whether a signal has come meanwhile.
#pragma once

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/arch/trace.hpp>
#include <mitosis/fork/user/capture/trace/stop_clock.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace mitosis::capture {

/// Detaches at its end; move-only. Only the thread that seized it may use it.
class TracedThread {
 public:
  /// Why it stands still.
  enum class Stop {
    none,     ///< it runs
    held,     ///< on its way to user space: here registers may be changed
    stopped,  ///< by SIGSTOP or the like, as if held
    syscall,  ///< entering or leaving a system call
    forked,   ///< inside of clone(2)
  };

  /// Starts to trace it; it runs on. missing_privilege where ptrace's access rule forbids it.
  static Result<TracedThread> seize(pid_t tid) noexcept {
    // Its seccomp filters are not made for our code; only a privileged tracer may suspend them.
    constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
    if (::ptrace(PTRACE_SEIZE, tid, nullptr, options) == 0) return TracedThread(tid, Stop::none);
    if (::ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACESYSGOOD) != 0) {
      const Errc code = errno == ESRCH ? Errc::child_died : Errc::missing_privilege;
      return Error(code, "ptrace does not let its caller trace this process", errno).in("trace");
    }
    return TracedThread(tid, Stop::none);
  }
  /// One that the kernel has attached, as a new process of a traced one. It is about to stop.
  static TracedThread attached(pid_t tid) noexcept { return TracedThread(tid, Stop::none); }

  TracedThread(TracedThread&& other) noexcept
      : tid_(std::exchange(other.tid_, -1)),
        stop_(other.stop_),
        asked_(other.asked_),
        borrowed_(other.borrowed_),
        ours_(std::move(other.ours_)),
        own_(other.own_),
        own_mask_(other.own_mask_),
        how_(other.how_) {}
  TracedThread& operator=(TracedThread&&) = delete;
  TracedThread(const TracedThread&) = delete;
  TracedThread& operator=(const TracedThread&) = delete;
  ~TracedThread() {
    if (tid_ < 0) return;
    if (stop_ != Stop::held || borrowed_) {
      // One that has not stopped yet has nothing to be put back.
      const StopClock clock(stop_ == Stop::none && !borrowed_ ? detach_patience
                                                              : rollback_patience);
      (void)settle(clock);
    }
    if (tid_ >= 0) (void)detach();
  }

  [[nodiscard]] pid_t tid() const noexcept { return tid_; }
  [[nodiscard]] Stop stop() const noexcept { return stop_; }
  /// Its registers and mask as of `hold`.
  [[nodiscard]] const arch::Registers& own_registers() const noexcept { return own_; }
  [[nodiscard]] std::uint64_t own_mask() const noexcept { return own_mask_; }

  /// Asks it to stop. Once for each stop: the kernel would stop it again for a second time.
  Result<void> interrupt() noexcept {
    if (std::exchange(asked_, true)) return {};
    if (::ptrace(PTRACE_INTERRUPT, tid_, nullptr, nullptr) != 0) return failed("PTRACE_INTERRUPT");
    return {};
  }
  /// Waits for its stop. Signals that come first are handed on to it: they are its own.
  Result<Stop> wait(const StopClock& clock) noexcept;
  /// Lets it run, or up to the next entry or exit of a system call.
  Result<void> run() noexcept { return resume(PTRACE_CONT); }
  Result<void> run_to_system_call() noexcept { return resume(PTRACE_SYSCALL); }
  /// At its first stop, to be called once: remembers what is the thread's own.
  Result<void> hold() noexcept;
  /// Changes what is its own: it goes on there.
  void redirect(std::uint64_t instruction) noexcept { own_[arch::reg_rip] = instruction; }

  /// Held: gives it other registers, and blocks all signals. Instructions from `code` on, `bytes`
  /// long, are ours: found elsewhere later, it has gone back by itself.
  Result<void> borrow(const arch::Registers& registers, std::uint64_t code,
                      std::uint64_t bytes) noexcept;
  /// Whatever it does: brings it to a held stop with its own registers and mask. False: it was lent
  /// registers, and has gone back by itself before.
  Result<bool> settle(const StopClock& clock) noexcept;
  /// True where it is held and at an instruction of ours.
  [[nodiscard]] bool in_our_code() const noexcept {
    const auto now = registers();
    return borrowed_ && now && now->at(arch::reg_rip) - ours_.first < ours_.second;
  }
  /// Held: has it do a system call with the instruction at `instruction`, and holds it again.
  /// The kernel's answer as it is.
  Result<std::int64_t> call(const StopClock& clock, std::uint64_t instruction, long number,
                            const std::array<std::uint64_t, 6>& arguments) noexcept;

  /// It stays traced for as long as this process lives, and is not looked at any more.
  void let_be() noexcept { tid_ = -1; }
  /// It is traced no more, and goes on.
  Result<void> detach() noexcept {
    const pid_t tid = std::exchange(tid_, -1);
    if (::ptrace(PTRACE_DETACH, tid, nullptr, nullptr) == 0) return {};
    return Error(Errc::child_died, "PTRACE_DETACH", errno).in("trace");
  }

  [[nodiscard]] Result<arch::Registers> registers() const noexcept {
    arch::Registers r = {};
    iovec part = {r.data(), sizeof(r)};
    if (::ptrace(PTRACE_GETREGSET, tid_, NT_PRSTATUS, &part) != 0) return failed("GETREGSET");
    if (part.iov_len != sizeof(r) || !arch::is_native(r)) {
      return Error(Errc::unsupported_process, "it is a 32-bit program").in("trace");
    }
    return r;
  }
  /// A ptrace request with this thread's id; what it returns, or -1 and errno.
  template <class Address, class Data>
  long ask(int what, Address address, Data data) const noexcept {
    return ::ptrace(static_cast<__ptrace_request>(what), tid_, address, data);
  }

  /// A system call of the target may take its time, and must not be left half-way.
  static constexpr std::chrono::milliseconds rollback_patience{10'000};
  /// Afterwards the tracer's own end detaches it.
  static constexpr std::chrono::milliseconds detach_patience{50};

 private:
  TracedThread(pid_t tid, Stop stop) noexcept : tid_(tid), stop_(stop) {}
  static Error failed(const char* what) noexcept {
    return Error(errno == ESRCH ? Errc::child_died : Errc::system_call_failed, what, errno)
        .in("trace");
  }
  Result<void> resume(__ptrace_request how, int signal = 0) noexcept {
    if (::ptrace(how, tid_, nullptr, signal) != 0) return failed("PTRACE_CONT");
    stop_ = Stop::none;
    how_ = how;
    return {};
  }
  Result<void> write_registers(const arch::Registers& r) const noexcept {
    iovec part = {const_cast<std::uint64_t*>(r.data()), sizeof(r)};
    if (::ptrace(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &part) != 0) return failed("SETREGSET");
    return {};
  }
  Result<void> write_mask(std::uint64_t mask) const noexcept {
    if (::ptrace(PTRACE_SETSIGMASK, tid_, sizeof(mask), &mask) != 0) return failed("SETSIGMASK");
    return {};
  }
  /// From any stop on to a held one.
  Result<void> hold_again(const StopClock& clock) noexcept;

  pid_t tid_;
  Stop stop_;
  bool asked_ = false;                            // to stop, and has not yet
  bool borrowed_ = false;                         // its registers and mask are ours
  std::pair<std::uint64_t, std::uint64_t> ours_;  // instructions: from, bytes
  arch::Registers own_ = {};
  std::uint64_t own_mask_ = 0;
  __ptrace_request how_ = PTRACE_CONT;  // how it was let run
};

inline Result<TracedThread::Stop> TracedThread::wait(const StopClock& clock) noexcept {
  for (;;) {
    const Result<int> status = clock.wait(tid_);
    if (!status) return status.error();
    if (!WIFSTOPPED(*status)) {
      tid_ = -1;
      return Error(Errc::child_died, "a thread has ended").in("trace");
    }
    const int signal = WSTOPSIG(*status);
    switch (*status >> 16) {
      case PTRACE_EVENT_STOP:
        asked_ = false;
        return stop_ = signal == SIGTRAP ? Stop::held : Stop::stopped;
      case PTRACE_EVENT_FORK:
      case PTRACE_EVENT_VFORK:
      case PTRACE_EVENT_CLONE:
        return stop_ = Stop::forked;
      default:
        break;
    }
    if (signal == (SIGTRAP | 0x80)) return stop_ = Stop::syscall;
    if (Result<void> ok = resume(how_, signal); !ok) return ok.error();
  }
}

inline Result<void> TracedThread::hold() noexcept {
  const Result<arch::Registers> now = registers();
  if (!now) return now.error();
  own_ = *now;
  arch::undo_interruption(own_);
  // Of a thread in sigsuspend or ppoll this is the mask that it has afterwards; the restarted call
  // sets the other one again.
  if (::ptrace(PTRACE_GETSIGMASK, tid_, sizeof(own_mask_), &own_mask_) != 0) {
    return failed("GETSIGMASK");
  }
  if (own_ != *now) return write_registers(own_);
  return {};
}

inline Result<void> TracedThread::borrow(const arch::Registers& registers, std::uint64_t code,
                                         std::uint64_t bytes) noexcept {
  // Registers first: the code puts the mask back if we do not live to do it.
  borrowed_ = true;
  ours_ = {code, bytes};
  if (Result<void> ok = write_registers(registers); !ok) return ok;
  return write_mask(~std::uint64_t{0});
}

inline Result<void> TracedThread::hold_again(const StopClock& clock) noexcept {
  while (stop_ != Stop::held && stop_ != Stop::stopped) {
    if (Result<void> ok = interrupt(); !ok) return ok;
    if (stop_ != Stop::none) {
      if (Result<void> ok = run(); !ok) return ok;
    }
    if (const auto next = wait(clock); !next) return next.error();
  }
  return {};
}

inline Result<bool> TracedThread::settle(const StopClock& clock) noexcept {
  if (tid_ < 0) return Error(Errc::child_died, "a thread has ended").in("trace");
  if (Result<void> ok = hold_again(clock); !ok) return ok.error();
  if (!borrowed_) return true;
  const bool ours = in_our_code();
  borrowed_ = false;
  if (!ours) return false;
  if (Result<void> ok = write_mask(own_mask_); !ok) return ok.error();
  if (Result<void> ok = write_registers(own_); !ok) return ok.error();
  return true;
}

inline Result<std::int64_t> TracedThread::call(
    const StopClock& clock, std::uint64_t instruction, long number,
    const std::array<std::uint64_t, 6>& arguments) noexcept {
  // Up to the instruction's end, where it stands when the call is over.
  const std::uint64_t bytes = arch::syscall_instruction.size() + 1;
  const auto registers_for = arch::calling(own_, instruction, number, arguments);
  if (Result<void> ok = borrow(registers_for, instruction, bytes); !ok) return ok.error();
  std::int64_t answer = 0;
  for (const bool leaving : {false, true}) {
    if (Result<void> ok = run_to_system_call(); !ok) return ok.error();
    const Result<Stop> stop = wait(clock);
    if (!stop) return stop.error();
    if (*stop != Stop::syscall) {
      return Error(Errc::unsupported_process, "it was stopped by a signal").in("trace");
    }
    if (!leaving) continue;
    const Result<arch::Registers> after = registers();
    if (!after) return after.error();
    answer = arch::returned(*after);
  }
  if (Result<bool> ok = settle(clock); !ok) return ok.error();
  return answer;
}

}  // namespace mitosis::capture
