// SPDX-License-Identifier: MIT
// clone_process: has a held process's leader clone it, with all of its memory. World: user.
// Memory that is marked MADV_DONTFORK (V8's heap is) would be missing: where the clone turns out to
// be smaller, the marks are taken away for a second one. Nobody tells them beforehand but smaps,
// which walks all page tables.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <mitosis/fork/user/capture/namespace_pids.hpp>
#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/fork/user/capture/trace/inside.hpp>
#include <mitosis/fork/user/capture/trace/remote_space.hpp>
#include <mitosis/fork/user/capture/trace/tracee.hpp>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// A new process that nobody knows yet: killed at its end, unless it is let go. Move-only.
class NewShadow {
 public:
  explicit NewShadow(pid_t pid) noexcept : thread_(TracedThread::attached(pid)), pid_(pid) {}
  NewShadow(NewShadow&& other) noexcept
      : thread_(std::move(other.thread_)), pid_(std::exchange(other.pid_, -1)) {}
  NewShadow& operator=(NewShadow&&) = delete;
  ~NewShadow() {
    if (pid_ > 0) (void)::kill(pid_, SIGKILL);
  }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// From here on it reports to the agent and belongs to it.
  Result<pid_t> let_go(const StopClock& clock) noexcept {
    if (const auto stop = thread_.wait(clock); !stop) return stop.error();
    if (Result<void> ok = thread_.detach(); !ok) return ok.error();
    return std::exchange(pid_, -1);
  }
  /// The same of one that runs under seccomp filters, which are not made for what it does: they are
  /// suspended, until it only waits. It stays traced up to our end, which the kernel takes for the
  /// end of the tracing without waking it; a wait that was begun is not asked for again.
  Result<pid_t> park(const StopClock& clock) {
    if (const auto stop = thread_.wait(clock); !stop) return stop.error();
    if (Result<void> ok = thread_.run(); !ok) return ok.error();
    const Result<UniqueFd> process = open_process(pid_);
    if (!process) return process.error();
    for (;;) {
      const Result<std::vector<char>> call = read_at(process->get(), "syscall", 4096);
      if (call && view(*call).starts_with("0 0x0 ")) break;  // read(2) of its lifeline
      int status = 0;
      if (::waitpid(pid_, &status, __WALL | WNOHANG) == pid_ && !WIFSTOPPED(status)) {
        thread_.let_be();
        pid_ = -1;
        return Error(Errc::child_died, "its shadow").in("clone the process");
      }
      if (clock.passed()) return Error(Errc::timed_out, "its shadow").in("clone the process");
      ::sched_yield();
    }
    thread_.let_be();
    return std::exchange(pid_, -1);
  }
  /// Ends it, up to where its parent can bury it.
  void end(const StopClock& clock) noexcept {
    (void)::kill(std::exchange(pid_, -1), SIGKILL);
    while (thread_.wait(clock)) (void)thread_.run();
  }

 private:
  TracedThread thread_;
  pid_t pid_;
};

namespace detail {

inline Result<std::uint64_t> mapped_kib_of(int process) {
  const Result<std::vector<char>> status = read_at(process, "status", 1u << 20);
  if (!status) return status.error();
  return mapped_kib(view(*status));
}

/// What the process has mapped and its copy has not. Both stand still.
inline Result<std::vector<MarkedRange>> left_out(int process, int copy) {
  const Result<std::vector<char>> texts[] = {read_at(process, "maps", max_maps_text),
                                             read_at(copy, "maps", max_maps_text)};
  std::vector<MarkedRange> missing;
  if (!texts[0]) return texts[0].error();
  if (!texts[1]) return texts[1].error();
  const auto all = parse_maps(view(*texts[0])), copied = parse_maps(view(*texts[1]));
  if (!all) return all.error();
  if (!copied) return copied.error();
  auto next = copied->begin();
  for (const Mapping& m : *all) {
    std::uint64_t from = m.start;
    while (next != copied->end() && next->end <= from) ++next;
    for (auto c = next; c != copied->end() && c->start < m.end; ++c) {
      if (c->start > from) missing.push_back({from, c->start, descriptor::vma_dont_fork});
      from = c->end;
    }
    if (from < m.end) missing.push_back({from, m.end, descriptor::vma_dont_fork});
  }
  return missing;
}

/// Its pid as its own process and its parent see it.
inline Result<std::uint64_t> own_pid_of(int process) {
  const auto pids = namespace_pids_of(process);
  if (!pids) return pids.error();
  if (!pids->empty() && pids->back() != 0) return pids->back();
  return Error(Errc::system_call_failed, "NSpid").in("clone the process");
}

}  // namespace detail

/// The clone, and how the leader gets out of it.
class Cloner {
 public:
  /// `slot` is a slot whose only op clones, written already; `frame` the leader's.
  Cloner(Tracee& tracee, RemoteSpace& space, const RemoteSlot& slot, std::uint64_t slot_at,
         std::uint64_t frame) noexcept
      : tracee_(tracee), space_(space), slot_(slot), slot_at_(slot_at), frame_(frame) {}

  /// Clones, a second time where memory was left out. The leader is in it until `finish`.
  Result<NewShadow> clone(const StopClock& clock) {
    Result<NewShadow> shadow = clone_once(slot_at_, clock);
    if (!shadow) return shadow.error();
    Result<UniqueFd> copy = open_process(shadow->pid());
    if (!copy) return copy.error();
    const auto whole = detail::mapped_kib_of(tracee_.process());
    const auto copied = detail::mapped_kib_of(copy->get());
    if (!whole) return whole.error();
    if (!copied) return copied.error();
    if (*copied >= *whole) return shadow;

    auto missing = detail::left_out(tracee_.process(), copy->get());
    const auto pid = detail::own_pid_of(copy->get());
    if (!missing) return missing.error();
    if (!pid) return pid.error();
    shadow->end(clock);
    const Result<bool> back = tracee_.leader().settle(clock);
    if (!back) return back.error();
    const Result<std::uint64_t> again = put_second(*missing, *pid);
    if (!again) return again.error();
    second_ = true;
    left_out_ = std::move(*missing);
    return clone_once(*again, clock);
  }
  /// What the program has marked MADV_DONTFORK; the clone has it unmarked.
  [[nodiscard]] const std::vector<MarkedRange>& left_out() const noexcept { return left_out_; }
  /// The leader is held again, the marks are as they were.
  Result<void> finish(const StopClock& clock) {
    TracedThread& leader = tracee_.leader();
    if (second_) {
      if (Result<void> ok = leader.run(); !ok) return ok;
      for (std::uint64_t done = 0; done == 0;) {
        if (Result<void> ok = space_.read(slot_.done, &done); !ok) return ok;
        if (clock.passed()) return Error(Errc::timed_out, "its leader").in("clone the process");
        ::sched_yield();
      }
    }
    const Result<bool> back = leader.settle(clock);
    if (!back) return back.error();
    if (!*back) return Error(Errc::timed_out, "its clone took too long").in("clone the process");
    return {};
  }

 private:
  Result<NewShadow> clone_once(std::uint64_t slot, const StopClock& clock) {
    TracedThread& leader = tracee_.leader();
    constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK;
    if (leader.ask(PTRACE_SETOPTIONS, nullptr, options | PTRACE_O_SUSPEND_SECCOMP) != 0 &&
        leader.ask(PTRACE_SETOPTIONS, nullptr, options) != 0) {
      return Error(Errc::system_call_failed, "PTRACE_SETOPTIONS", errno).in("clone the process");
    }
    const arch::Registers there =
        arch::entering(leader.own_registers(), space_.code(), slot, frame_);
    if (Result<void> ok = leader.borrow(there, space_.code(), space_.code_bytes()); !ok) {
      return ok.error();
    }
    // By way of the entry and exit of each system call: a clone that fails makes no other stop.
    for (;;) {
      if (Result<void> ok = leader.run_to_system_call(); !ok) return ok.error();
      const Result<TracedThread::Stop> stop = leader.wait(clock);
      if (!stop) return stop.error();
      if (*stop == TracedThread::Stop::forked) break;
      if (*stop != TracedThread::Stop::syscall) {
        return Error(Errc::unsupported_process, "it cannot be cloned").in("clone the process");
      }
      const Result<arch::Registers> now = leader.registers();
      if (!now) return now.error();
      if (const int failed = arch::failed_call(*now, SYS_clone); failed != 0) {
        return refuse_clone(failed);
      }
    }
    unsigned long pid = 0;
    if (leader.ask(PTRACE_GETEVENTMSG, nullptr, &pid) != 0) {
      return Error(Errc::child_died, "PTRACE_GETEVENTMSG", errno).in("clone the process");
    }
    return NewShadow(static_cast<pid_t>(pid));
  }
  static Error refuse_clone(int failed) {
    const char* const why = failed == EAGAIN   ? "it may not fork: its user's limit of processes "
                                                 "(ulimit -u), or its cgroup's (pids.max)"
                            : failed == ENOMEM ? "there is no memory for a fork of it"
                                               : "it cannot fork";
    return Error(Errc::limit_exceeded, why, failed).in("clone the process");
  }

  /// Buries the first clone, takes the marks away, clones, and puts them back: the leader does so
  /// to the end whatever becomes of us.
  Result<std::uint64_t> put_second(const std::vector<MarkedRange>& missing, std::uint64_t pid) {
    const std::uint64_t ignored = space_.reserve(8, 8);
    std::vector<RemoteOp> ops;
    ops.push_back({SYS_wait4, {pid, 0, static_cast<std::uint32_t>(__WALL), 0}, ignored});
    const auto mark = [&](int how) {
      for (const MarkedRange& m : missing) {
        ops.push_back(
            {SYS_madvise, {m.start, m.end - m.start, static_cast<std::uint64_t>(how)}, ignored});
      }
    };
    mark(MADV_DOFORK);
    ops.push_back({SYS_clone, {}, ignored});
    mark(MADV_DONTFORK);
    RemoteSlot slot = slot_;
    slot.first = space_.put(ops[0], ops.size());
    slot.end = slot.first + ops.size() * sizeof(RemoteOp);
    const std::uint64_t at = space_.put(slot);
    if (Result<void> ok = space_.write(); !ok) return ok.error();
    return at;
  }

  Tracee& tracee_;
  RemoteSpace& space_;
  RemoteSlot slot_;
  std::uint64_t slot_at_, frame_;
  bool second_ = false;
  std::vector<MarkedRange> left_out_;
};

}  // namespace mitosis::capture
