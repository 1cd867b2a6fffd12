// SPDX-License-Identifier: MIT
// Capturer: the short-lived process that traces a target for the agent. World: user.
// A process of its own: ptrace blocks and belongs to one thread, and when the agent is killed the
// target must not be left half-way. It has its caller's rights, so that the kernel itself decides
// whom it may trace; it finishes or rolls back whatever becomes of the agent.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/caller_rights.hpp>
#include <mitosis/fork/user/agent/sealed_memfd.hpp>
#include <mitosis/fork/user/capture/trace/freeze.hpp>
#include <mitosis/fork/user/local/channel.hpp>

#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace mitosis::agent {

namespace detail {

/// What the capturer tells, packet by packet.
struct CapturerNote {
  enum class Kind : std::uint32_t { stopped = 1, frozen = 2, failed = 3 } kind = Kind::failed;
  std::int32_t shadow = 0;
  std::uint64_t threads = 0, unmarked = 0, hidden_start = 0, hidden_end = 0, stopped_ns = 0;
  local::ProcessFacts process;
  Error why;
};
static_assert(std::is_trivially_copyable_v<CapturerNote>);

/// The capturer's end of its conversation.
class CapturerEnd {
 public:
  /// So long the agent may look at the target: it stands still meanwhile.
  static constexpr timeval patience = {2, 0};

  explicit CapturerEnd(int socket) noexcept : socket_(socket) {
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  Result<void> all_stopped() const noexcept {
    CapturerNote note;
    note.kind = CapturerNote::Kind::stopped;
    return tell(note);
  }
  /// One byte is a yes; the connection's end a no, or the agent's.
  Result<void> verdict() const noexcept {
    char yes = 0;
    for (;;) {
      const ssize_t n = ::recv(socket_, &yes, 1, 0);
      if (n == 1) return {};
      if (n < 0 && errno == EINTR) continue;
      return Error(Errc::shutting_down, "the agent did not agree");
    }
  }
  Result<void> tell(const CapturerNote& note) const noexcept {
    if (::send(socket_, &note, sizeof note, MSG_NOSIGNAL) == ssize_t{sizeof note}) return {};
    return Error(Errc::connection_lost, "the agent", errno);
  }

 private:
  int socket_;
};
static_assert(capture::FreezeAgent<CapturerEnd>);

/// Thread after thread: the two records, its XSAVE area, and the number of its filters, each with
/// flags and length. Then the ranges of memory.
inline bool write_frozen(int file, const capture::Frozen& frozen) noexcept {
  const auto write_all = [file](const void* data, std::size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::write(file, at, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      bytes -= static_cast<std::size_t>(n);
    }
    return true;
  };
  for (const capture::ThreadState& thread : frozen.threads) {
    descriptor::ThreadRecord record = thread.record;
    record.xstate_bytes = static_cast<std::uint32_t>(thread.xstate.size());
    if (!write_all(&record, sizeof record) ||
        !write_all(&thread.scheduling, sizeof thread.scheduling) ||
        !write_all(thread.xstate.data(), thread.xstate.size())) {
      return false;
    }
    const std::uint64_t filters = thread.filters.size();
    if (!write_all(&filters, sizeof filters)) return false;
    for (const capture::SeccompFilter& filter : thread.filters) {
      const std::uint32_t head[2] = {filter.flags, static_cast<std::uint32_t>(filter.code.size())};
      if (!write_all(head, sizeof head) ||
          !write_all(filter.code.data(), filter.code.size() * sizeof filter.code[0])) {
        return false;
      }
    }
  }
  return write_all(frozen.unmarked.data(), frozen.unmarked.size() * sizeof frozen.unmarked[0]);
}

/// False where the bytes end before.
inline bool read_filters(const std::vector<std::uint8_t>& bytes, std::size_t& at,
                         std::vector<capture::SeccompFilter>& to) {
  const auto take = [&](void* into, std::size_t count) {
    if (bytes.size() - at < count) return false;
    if (count != 0) std::memcpy(into, bytes.data() + at, count);
    at += count;
    return true;
  };
  std::uint64_t filters = 0;
  if (!take(&filters, sizeof filters)) return false;
  for (std::uint64_t i = 0; i < filters; ++i) {
    std::uint32_t head[2] = {};
    if (!take(head, sizeof head) || bytes.size() - at < head[1] * sizeof(std::uint64_t)) {
      return false;
    }
    to.push_back({head[0], std::vector<std::uint64_t>(head[1])});
    if (!take(to.back().code.data(), head[1] * sizeof(std::uint64_t))) return false;
  }
  return true;
}

inline Result<void> read_frozen(int file, const CapturerNote& note, capture::Frozen& frozen) {
  auto bytes = read_all(file);
  if (!bytes) return bytes.error();
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < note.threads; ++i) {
    capture::ThreadState thread;
    if (bytes->size() - at < sizeof thread.record) break;
    std::memcpy(&thread.record, bytes->data() + at, sizeof thread.record);
    at += sizeof thread.record;
    if (bytes->size() - at < sizeof thread.scheduling + thread.record.xstate_bytes) break;
    std::memcpy(&thread.scheduling, bytes->data() + at, sizeof thread.scheduling);
    at += sizeof thread.scheduling;
    thread.xstate.assign(bytes->data() + at, bytes->data() + at + thread.record.xstate_bytes);
    at += thread.record.xstate_bytes;
    if (!read_filters(*bytes, at, thread.filters)) break;
    frozen.threads.push_back(std::move(thread));
  }
  const std::size_t ranges = note.unmarked * sizeof(capture::MarkedRange);
  if (frozen.threads.size() == note.threads && bytes->size() - at == ranges) {
    frozen.unmarked.resize(note.unmarked);
    if (ranges != 0) std::memcpy(frozen.unmarked.data(), bytes->data() + at, ranges);
    return {};
  }
  return Error(Errc::bad_message, "the capturer's threads").in("capture");
}

/// The capturer's life, in a process that was forked from a worker with threads: nothing here may
/// wait for another thread's lock (no logging), and no descriptor of the worker stays open.
[[noreturn]] inline void be_capturer(pid_t target, const capture::Lifeline& lifeline,
                                     const CallerRights& rights, int socket, int file) noexcept {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int high_socket = ::fcntl(socket, F_DUPFD, 10), high_file = ::fcntl(file, F_DUPFD, 10);
  if (::dup2(high_socket, 3) != 3 || ::dup2(high_file, 4) != 4) ::_exit(1);
  ::close_range(5, ~0u, 0);
  ::setpgid(0, 0);  // no session, a new group to the scheduler (sched(7), autogroup): it would wait
  ::prctl(PR_SET_NAME, "mitosis-capture");
  (void)::setpriority(PRIO_PROCESS, 0, -20);  // a process stands still for it
  // The last that a machine without memory should end: a target may be half-way.
  if (const UniqueFd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)); score) {
    (void)!::write(score.get(), "-1000", 5);
  }
  CapturerEnd agent(3);
  CapturerNote note;
  if (!take_on(rights)) {
    note.why = Error(Errc::missing_privilege, "to act as the caller", errno).in("capture");
  } else if (auto frozen = capture::freeze(target, lifeline, agent); !frozen) {
    note.why = frozen.error();
    if (note.why.code == Errc::child_died) {  // its words are about a resumed child
      note.why = Error(Errc::unsupported_process, "it has ended, or runs another program now")
                     .in("stop the process");
    }
  } else if (!write_frozen(4, *frozen)) {
    note.why = Error(Errc::system_call_failed, "write", errno).in("capture");
    (void)::kill(frozen->shadow, SIGKILL);
  } else {
    note.kind = CapturerNote::Kind::frozen;
    note.shadow = frozen->shadow;
    note.threads = frozen->threads.size();
    note.unmarked = frozen->unmarked.size();
    note.process = frozen->process;
    note.hidden_start = frozen->hidden_start;
    note.hidden_end = frozen->hidden_end;
    note.stopped_ns = frozen->stopped_ns;
  }
  (void)agent.tell(note);
  ::_exit(0);
}

}  // namespace detail

/// The agent's hold on it. At its end the capturer has ended: it is told to give up, and given the
/// time to do so in order.
class Capturer {
 public:
  /// Longer than anything that the capturer itself waits for.
  static constexpr std::chrono::seconds patience{30};

  static Result<Capturer> start(pid_t target, const capture::Lifeline& lifeline,
                                const CallerRights& rights) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
      return Error(Errc::system_call_failed, "socketpair", errno).in("start a capturer");
    }
    UniqueFd ours(pair[0]), theirs(pair[1]);
    UniqueFd file(::memfd_create("mitosis-threads", MFD_CLOEXEC));
    if (!file) return Error(Errc::system_call_failed, "memfd_create", errno).in("start a capturer");
    const pid_t pid = ::fork();
    if (pid < 0) return Error(Errc::system_call_failed, "fork", errno).in("start a capturer");
    if (pid == 0) detail::be_capturer(target, lifeline, rights, theirs.get(), file.get());
    return Capturer(pid, std::move(ours), std::move(file));
  }
  Capturer(Capturer&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        socket_(std::move(other.socket_)),
        file_(std::move(other.file_)) {}
  Capturer& operator=(Capturer&&) = delete;
  ~Capturer() {
    if (pid_ < 0) return;
    socket_.reset();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    // Its end is near: it waits for nobody but the target, and for that not long.
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) (void)::kill(pid_, SIGKILL);
      const timespec moment = {0, 200'000};
      ::nanosleep(&moment, nullptr);
    }
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// All of the target's threads stand still.
  Result<void> await_stop() const {
    const auto note = await();
    if (!note) return note.error();
    if (note->kind == detail::CapturerNote::Kind::stopped) return {};
    return note->why;
  }
  /// What it has not done yet is not to be done.
  void give_up() noexcept { socket_.reset(); }
  /// It may clone the target.
  Result<void> agree() const noexcept {
    if (::send(socket_.get(), "y", 1, MSG_NOSIGNAL) == 1) return {};
    return Error(Errc::child_died, "the capturer", errno).in("capture");
  }
  Result<capture::Frozen> await_end() const {
    const auto note = await();
    if (!note) return note.error();
    if (note->kind != detail::CapturerNote::Kind::frozen) return note->why;
    capture::Frozen frozen;
    if (auto r = detail::read_frozen(file_.get(), *note, frozen); !r) return r.error();
    frozen.process = note->process;
    frozen.shadow = note->shadow;
    frozen.hidden_start = note->hidden_start;
    frozen.hidden_end = note->hidden_end;
    frozen.stopped_ns = note->stopped_ns;
    return frozen;
  }

 private:
  Capturer(pid_t pid, UniqueFd socket, UniqueFd file) noexcept
      : pid_(pid), socket_(std::move(socket)), file_(std::move(file)) {}

  Result<detail::CapturerNote> await() const {
    auto packet = local::ChannelView(socket_.get()).receive(local::within(patience));
    if (!packet) return Error(Errc::child_died, "the capturer").in("capture");
    detail::CapturerNote note;
    if (packet->bytes.size() != sizeof note) return Error(Errc::bad_message, "the capturer's note");
    std::memcpy(&note, packet->bytes.data(), sizeof note);
    return note;
  }

  pid_t pid_;
  UniqueFd socket_, file_;
};

}  // namespace mitosis::agent
