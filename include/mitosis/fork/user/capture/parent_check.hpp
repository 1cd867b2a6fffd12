// SPDX-License-Identifier: MIT
// check_parent: may this process be prepared, and what must be read of it while it waits.
// World: user. Runs beside the parent's clone(), so its time is the parent's pause: few system
// calls, nothing that walks page tables.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/types.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/attributes.hpp>
#include <mitosis/fork/user/capture/files/memories.hpp>
#include <mitosis/fork/user/capture/marks.hpp>
#include <mitosis/fork/user/capture/proc_fds.hpp>
#include <mitosis/fork/user/capture/shared_maps.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::capture {

/// What the parent was like when it called prepare.
struct ParentFacts {
  pid_t pid = 0;
  std::uint32_t umask = 0;
  std::string name;  ///< comm
  std::string cwd;
  std::vector<OpenFile> files;   ///< ascending
  std::uint64_t memory_kib = 0;  ///< mapped, but for the stack; the shadow must have as much
  std::uint64_t locked_kib = 0;  ///< of it: mlock(2)
  std::vector<MarkedRange> locked;
  std::vector<descriptor::TimerRecord> timers;   ///< what they do, not yet when
  std::uint64_t thread_signals = 0;              ///< pending for the thread: bit n-1 is signal n
  std::uint64_t process_signals = 0;             ///< the same for the process
  Dropped dropped;                               ///< open files that do not come along
  SharedMemory shared;                           ///< its content, as of then
  descriptor::SchedulingRecord scheduling = {};  ///< the scheduler's part
};

/// What is expected of a process that did not call prepare itself, and a limit for all.
struct ParentCheck {
  bool many_threads = false;                        ///< all of them stand still
  pid_t tracer = 0;                                 ///< who holds them
  bool lossy = false;                               ///< open files may be left out
  std::uint64_t shared_budget = ~std::uint64_t{0};  ///< bytes of shared memory that are copied
};

namespace detail {

inline Error refuse(const std::string& what) {
  return Error(Errc::unsupported_process, what.c_str()).in("check the process");
}

/// What is mapped but for the stack, which may grow any time, of a /proc/PID/status; 0: not told.
inline std::uint64_t mapped_kib(std::string_view status) noexcept {
  const auto kib = [status](std::string_view key) {
    std::string_view value = field(status, key);  // "1234 kB"
    return number(take_until(value, ' ')).value_or(0);
  };
  return kib("VmSize") - kib("VmStk");
}

/// "python3, ThreadPoolExecu, ...": of the first few threads.
inline std::string thread_names(int process) {
  constexpr std::size_t most = 4;
  std::string names;
  const Result<UniqueFd> tasks = open_at(process, "task", O_DIRECTORY);
  DIR* dir = tasks ? ::fdopendir(::fcntl(tasks->get(), F_DUPFD_CLOEXEC, 0)) : nullptr;
  if (dir == nullptr) return names;
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    if (count++ == most) {
      names += ", ...";
      break;
    }
    const std::string path = std::string(entry->d_name) + "/comm";
    const Result<std::vector<char>> name = read_at(tasks->get(), path.c_str(), 4096);
    if (!names.empty()) names += ", ";
    std::string_view text = name ? view(*name) : std::string_view("?");
    names += take_until(text, '\n');
  }
  ::closedir(dir);
  return names;
}

/// /proc/PID/status: threads, tracer, seccomp, umask.
inline Result<void> check_status(int process, const ParentCheck& check, ParentFacts& facts) {
  const Result<std::vector<char>> status = read_at(process, "status", 1u << 20);
  if (!status) return status.error();
  const std::string_view text = view(*status);
  const auto value = [text](std::string_view key) {
    return number(field(text, key)).value_or(~std::uint64_t{0});
  };
  if (const std::uint64_t threads = value("Threads"); threads != 1 && !check.many_threads) {
    return refuse(fmt::format(
        "it has {} threads ({}), which its library has not seen; prepare again, or by its pid",
        threads, thread_names(process)));
  }
  if (const std::uint64_t tracer = value("TracerPid");
      tracer != static_cast<std::uint64_t>(check.tracer)) {
    return refuse(fmt::format("process {} traces it (ptrace); detach first", tracer));
  }
  // A kernel without seccomp has no such line. Whoever traces it has read its filters.
  if (const std::string_view mode = field(text, "Seccomp");
      !mode.empty() && mode != "0" && (check.tracer == 0 || mode == "1")) {
    return refuse(fmt::format(
        "it runs under seccomp (mode {}), which its library has not seen; prepare by its pid",
        mode));
  }
  facts.umask = number<std::uint32_t>(field(text, "Umask"), 8).value_or(022);
  facts.name = std::string(field(text, "Name"));
  facts.memory_kib = mapped_kib(text);
  std::string_view locked = field(text, "VmLck");  // "1234 kB"
  facts.locked_kib = number(take_until(locked, ' ')).value_or(0);
  facts.thread_signals = number(field(text, "SigPnd"), 16).value_or(0);
  facts.process_signals = number(field(text, "ShdPnd"), 16).value_or(0);
  return {};
}

/// Timers and pending signals. A kernel without CHECKPOINT_RESTORE does not list timers: then they
/// are lost, as by a fork().
inline Result<void> check_timers(int process, ParentFacts& facts) {
  const Result<std::vector<char>> text = read_at(process, "timers", 1u << 20);
  if (!text || text->empty()) return {};
  auto timers = parse_timers(view(*text));
  if (!timers) return timers.error();
  facts.timers = std::move(*timers);
  return {};
}

/// A queued real-time signal has a value that nobody can look at; but for a timer's, which is
/// known.
inline Result<void> check_signals(std::uint64_t pending, const ParentFacts& facts) {
  for (std::uint64_t signal = 32; signal <= 64; ++signal) {
    if ((pending >> (signal - 1) & 1) == 0) continue;
    const bool of_timer = std::any_of(facts.timers.begin(), facts.timers.end(),
                                      [signal](const auto& t) { return t.signal == signal; });
    if (of_timer) continue;
    return refuse(fmt::format(
        "real-time signal {} is pending, and its value cannot be read; let it be handled first",
        signal));
  }
  return {};
}

/// A clone locks none of its memory.
inline Result<void> read_locked(int process, ParentFacts& facts) {
  if (facts.locked_kib == 0) return {};
  auto locked = read_marks(process, descriptor::vma_locked);
  if (!locked) return locked.error();
  facts.locked = std::move(*locked);
  return {};
}

/// What can be told of a process without its files and its shared memory.
inline Result<void> check_process(pid_t pid, int process, const ParentCheck& check,
                                  ParentFacts& facts) {
  facts.pid = pid;
  if (Result<void> ok = check_status(process, check, facts); !ok) return ok;
  if (Result<void> ok = check_timers(process, facts); !ok) return ok;
  const std::uint64_t pending = facts.thread_signals | facts.process_signals;
  if (Result<void> ok = check_signals(pending, facts); !ok) return ok;
  if (Result<void> ok = read_scheduler(pid, facts.scheduling); !ok) return ok;
  Result<std::string> cwd = link_at(process, "cwd");
  if (!cwd) return cwd.error();
  if (cwd->ends_with(deleted_suffix)) return refuse("its working directory is deleted");
  facts.cwd = std::move(*cwd);
  return {};
}

}  // namespace detail

/// Refuses, by name, what a prepare cannot capture. The process must be waiting in its prepare
/// call, or be held as `check` says; `own_fds` are its connections to agents. Child processes are
/// no obstacle: they do not come along. What it shares is copied.
inline Result<ParentFacts> check_parent(pid_t pid, Span<const std::int32_t> own_fds = {},
                                        const ParentCheck& check = {}) {
  if (pid <= 0) {
    return detail::refuse("its pid namespace is not the agent's nor below it");
  }
  ParentFacts facts;
  const Result<UniqueFd> process = open_process(pid);
  if (!process) return process.error();
  if (Result<void> ok = detail::check_process(pid, process->get(), check, facts); !ok) {
    return ok.error();
  }
  Target target(pid, process->get());
  if (check.lossy) target.drop_into(&facts.dropped);
  Result<std::vector<OpenFile>> files = open_files(target, own_fds);
  if (!files) return files.error();
  facts.files = std::move(*files);

  // Last, because a clone() under way holds the memory map.
  if (Result<void> ok = add_shared_mappings(process->get(), facts.shared); !ok) return ok.error();
  if (Result<void> ok = facts.shared.copy(check.shared_budget); !ok) return ok.error();
  if (Result<void> ok = detail::read_locked(process->get(), facts); !ok) return ok.error();
  if (Result<void> ok = read_memories(target, facts.files, facts.shared); !ok) return ok.error();
  return facts;
}

}  // namespace mitosis::capture
