// SPDX-License-Identifier: MIT
// ProcessQuestions: what a process can only be asked itself, asked by its leader. World: user.
// The same as client/process_state.hpp asks in a program that prepares itself.
#pragma once

#include <linux/membarrier.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <mitosis/fork/user/capture/proc_timers.hpp>
#include <mitosis/fork/user/capture/trace/remote_op.hpp>
#include <mitosis/fork/user/capture/trace/remote_space.hpp>
#include <mitosis/fork/user/local/process_facts.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mitosis::capture {

/// The questions, laid out in the process; the leader's ops are `ops`.
class ProcessQuestions {
 public:
  /// `process` is /proc/PID of the held process.
  static Result<ProcessQuestions> put(RemoteSpace& space, int process) {
    ProcessQuestions questions;
    // A kernel without CHECKPOINT_RESTORE does not list them: they are lost, as by a fork().
    const auto text = read_at(process, "timers", 1u << 20);
    if (text && !text->empty()) {
      auto timers = parse_timers(view(*text));
      if (!timers) return timers.error();
      for (const descriptor::TimerRecord& timer : *timers) questions.ids_.push_back(timer.id);
    }
    if (questions.ids_.size() > local::ProcessFacts::max_timers) {
      return Error(Errc::limit_exceeded, "it has more than 64 POSIX timers").in("check timers");
    }
    questions.at_ = space.reserve(sizeof(Answers), 8);
    questions.timers_at_ = space.reserve(sizeof(TimerAnswer) * (questions.ids_.size() + 1), 8);
    questions.write_ops();
    return questions;
  }
  [[nodiscard]] const std::vector<RemoteOp>& ops() const noexcept { return ops_; }

  /// Once they are answered. Pending signals are in /proc.
  Result<local::ProcessFacts> answers(const RemoteSpace& space) const {
    Answers got;
    std::vector<TimerAnswer> timers(ids_.size() + 1);
    if (Result<void> ok = space.read(at_, &got); !ok) return ok.error();
    if (Result<void> ok = space.read(timers_at_, timers.data(), timers.size()); !ok) {
      return ok.error();
    }
    local::ProcessFacts facts;
    for (std::size_t i = 0; i < 3; ++i) {
      facts.intervals[i] = {us(got.intervals[i].it_value), us(got.intervals[i].it_interval)};
    }
    facts.death_signal = static_cast<std::uint32_t>(got.death_signal);
    facts.is_subreaper = static_cast<std::uint32_t>(got.is_subreaper);
    facts.timer_count = static_cast<std::uint32_t>(ids_.size());
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      facts.timers[i] = {ns(timers[i].state.it_value), ns(timers[i].state.it_interval), ids_[i], 0};
    }
    const auto value = [&got](Question q) {
      const std::int64_t result = got.results[q];
      return result < 0 ? 0u : static_cast<std::uint32_t>(result);
    };
    facts.dumpable = value(dumpable);
    facts.no_new_privs = value(no_new_privs);
    facts.no_thp = value(no_thp);
    facts.securebits = value(securebits);
    facts.timer_slack_ns = value(timer_slack);
    facts.personality = value(personality);
    constexpr std::uint32_t every = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;
    // Before Linux 6.3 nobody tells: one too many does no harm, one too few breaks the program.
    facts.membarrier = got.results[membarrier] < 0 ? every : value(membarrier) & every;
    return facts;
  }

 private:
  enum Question {
    dumpable,
    no_new_privs,
    no_thp,
    securebits,
    timer_slack,
    personality,
    membarrier,
    questions
  };
  struct Answers {
    itimerval intervals[3] = {};
    std::int32_t death_signal = 0, is_subreaper = 0;
    std::int64_t results[questions] = {};
    std::int64_t ignored = 0;
  };
  struct TimerAnswer {
    itimerspec state = {};
  };

  static std::uint64_t us(const timeval& t) noexcept {
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000u +
           static_cast<std::uint64_t>(t.tv_usec);
  }
  static std::uint64_t ns(const timespec& t) noexcept {
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(t.tv_nsec);
  }
  void add(long number, std::array<std::uint64_t, 6> arguments, std::uint64_t store) {
    ops_.push_back({static_cast<std::uint64_t>(number), arguments, store});
  }
  void write_ops() {
    constexpr std::uint64_t membarrier_get_registrations = 1 << 9;  // Linux 6.3
    const std::uint64_t ignored = at_ + offsetof(Answers, ignored);
    const auto result = [this](Question q) {
      return at_ + offsetof(Answers, results) + 8 * static_cast<std::uint64_t>(q);
    };
    for (std::uint64_t which = 0; which < 3; ++which) {
      add(SYS_getitimer, {which, at_ + which * sizeof(itimerval)}, ignored);
    }
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      const std::uint64_t to = timers_at_ + i * sizeof(TimerAnswer);
      add(SYS_timer_gettime, {static_cast<std::uint64_t>(ids_[i]), to}, ignored);
    }
    add(SYS_prctl, {PR_GET_PDEATHSIG, at_ + offsetof(Answers, death_signal)}, ignored);
    add(SYS_prctl, {PR_GET_CHILD_SUBREAPER, at_ + offsetof(Answers, is_subreaper)}, ignored);
    add(SYS_prctl, {PR_GET_DUMPABLE}, result(dumpable));
    add(SYS_prctl, {PR_GET_NO_NEW_PRIVS}, result(no_new_privs));
    add(SYS_prctl, {PR_GET_THP_DISABLE}, result(no_thp));
    add(SYS_prctl, {PR_GET_SECUREBITS}, result(securebits));
    add(SYS_prctl, {PR_GET_TIMERSLACK}, result(timer_slack));
    add(SYS_personality, {0xffffffffu}, result(personality));
    add(SYS_membarrier, {membarrier_get_registrations}, result(membarrier));
  }

  std::vector<std::int32_t> ids_;
  std::vector<RemoteOp> ops_;
  std::uint64_t at_ = 0, timers_at_ = 0;
};

}  // namespace mitosis::capture
