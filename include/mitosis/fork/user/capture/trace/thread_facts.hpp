// SPDX-License-Identifier: MIT
// read_thread: what can be learned of a held thread from outside. World: user.
// The alternative stack, clear_child_tid and, cheaply, its name are told to the thread itself:
// inside.hpp.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/fork/user/arch/trace.hpp>
#include <mitosis/fork/user/capture/attributes.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/capture/trace/seccomp_filters.hpp>
#include <mitosis/fork/user/capture/trace/traced_thread.hpp>

#include <array>
#include <cstring>
#include <ctime>
#include <vector>

namespace mitosis::capture {

namespace detail {

inline constexpr int ptrace_get_rseq_configuration = 0x420f;  // Linux 5.13
struct RseqConfiguration {
  std::uint64_t address;
  std::uint32_t bytes, signature, flags, pad;
};
/// <linux/rseq.h>'s struct rseq_cs.
struct RseqSection {
  std::uint32_t version, flags;
  std::uint64_t start, bytes, abort;
};

/// Its XSAVE area, without what is behind the last component that is not in its initial state: a
/// signal frame with room for components that a thread does not have is refused by the kernel.
inline Result<std::vector<std::uint8_t>> read_xstate(const TracedThread& thread,
                                                     const arch::XstateLayout& layout) {
  std::array<std::uint8_t, 1u << 14> area;  // the kernel says how much of it there is
  iovec part = {area.data(), area.size()};
  if (thread.ask(PTRACE_GETREGSET, NT_X86_XSTATE, &part) != 0) {
    return Error(Errc::system_call_failed, "NT_X86_XSTATE", errno).in("trace");
  }
  const std::size_t used = layout.used(Bytes(area.data(), part.iov_len));
  return std::vector<std::uint8_t>(area.data(), area.data() + used);
}

/// `memory` is a /proc/PID/mem. False where that is not mapped.
template <class T>
bool read_object(int memory, T& to, std::uint64_t from) noexcept {
  return ::pread(memory, &to, sizeof(to), static_cast<off_t>(from)) == ssize_t{sizeof(to)};
}

/// What tells one interrupted wait from another in a process's memory.
class TimesAndWords {
 public:
  explicit TimesAndWords(int memory) noexcept : memory_(memory) {}
  [[nodiscard]] bool is_time(std::uint64_t address) const noexcept {
    timespec time = {};
    return read_object(memory_, time, address) && time.tv_sec >= 0 && time.tv_nsec >= 0 &&
           time.tv_nsec < 1'000'000'000 && (time.tv_sec != 0 || time.tv_nsec != 0);
  }
  [[nodiscard]] bool holds(std::uint64_t address, std::uint32_t value) const noexcept {
    std::uint32_t there = 0;
    return read_object(memory_, there, address) && there == value;
  }

 private:
  int memory_;
};

}  // namespace detail

/// A thread that stands in a restartable sequence is moved to the sequence's abort handler, as the
/// kernel does with one that it has preempted: it will run other code in between.
inline void abort_restartable_sequence(TracedThread& thread, int memory,
                                       const descriptor::ThreadRecord& record) noexcept {
  if (record.rseq == 0) return;
  const auto read = [memory](auto& to, std::uint64_t from) {
    return detail::read_object(memory, to, from);
  };
  constexpr std::uint64_t section_pointer_at = 8;
  std::uint64_t at = 0;
  detail::RseqSection section = {};
  if (!read(at, record.rseq + section_pointer_at) || at == 0 || !read(section, at)) return;
  const std::uint64_t here = thread.own_registers()[arch::reg_rip];
  if (here - section.start < section.bytes) thread.redirect(section.abort);
}

/// What a copy of the thread goes on with: an interrupted call is entered again under its own
/// number. Where that cannot be told, restart_syscall(2) gives the copy EINTR.
inline arch::Registers registers_of_copy(const TracedThread& thread, int memory) {
  arch::Registers r = thread.own_registers();
  if (!arch::is_in_restarted_call(r)) return arch::restarted(r);
  std::array<std::uint8_t, arch::code_before_call> code = {};
  const std::uint64_t instruction = r[arch::reg_rip] - arch::syscall_instruction.size();
  std::size_t known = code.size();
  // Less where the mapping begins there.
  while (known > 0 && ::pread(memory, code.data(), known,
                              static_cast<off_t>(instruction - known)) != ssize_t(known)) {
    known /= 2;
  }
  const detail::TimesAndWords there(memory);
  const auto call = arch::call_behind_restart(r, Bytes(code.data(), known), there);
  if (call != 0) r[arch::reg_orig_rax] = call;
  return arch::restarted(r);
}

/// `memory` is the process's /proc/PID/mem, `tasks` its /proc/PID/task.
inline Result<ThreadState> read_thread(TracedThread& thread, int memory, int tasks,
                                       const arch::XstateLayout& layout) {
  ThreadState state;
  descriptor::ThreadRecord& record = state.record;
  auto xstate = detail::read_xstate(thread, layout);
  if (!xstate) return xstate.error();
  state.xstate = std::move(*xstate);
  auto filters = read_filters(thread, tasks);
  if (!filters) return filters.error();
  state.filters = std::move(*filters);
  record.signal_mask = thread.own_mask();
  record.tid = static_cast<std::uint32_t>(thread.tid());
  detail::RseqConfiguration rseq = {};
  if (thread.ask(detail::ptrace_get_rseq_configuration, sizeof(rseq), &rseq) ==
      long{sizeof(rseq)}) {
    record.rseq = rseq.address;
    record.rseq_bytes = rseq.bytes;
    record.rseq_signature = rseq.signature;
  }
  (void)::syscall(SYS_get_robust_list, thread.tid(), &record.robust_list,
                  &record.robust_list_bytes);
  abort_restartable_sequence(thread, memory, record);
  arch::write_registers(registers_of_copy(thread, memory), record);
  if (Result<void> ok = read_scheduler(thread.tid(), state.scheduling); !ok) return ok.error();
  return state;
}

}  // namespace mitosis::capture
