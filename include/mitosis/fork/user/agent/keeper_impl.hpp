// SPDX-License-Identifier: MIT
// The keeper's steps. World: user. Included by keeper.hpp only.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/fork_with_our_fds.hpp>
#include <mitosis/fork/user/agent/keeper.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mitosis::agent {

inline Result<void> Keeper::open() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, s);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) {
    return Error(Errc::system_call_failed, "sigprocmask", errno).in("start the keeper");
  }
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  int pair[2];
  if (!signals_ || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return Error(Errc::system_call_failed, "signalfd or socketpair", errno).in("start the keeper");
  }
  self_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self_) return Error(Errc::system_call_failed, "pidfd_open", errno).in("start the keeper");
  keeper_end_ = UniqueFd(pair[0]);
  worker_end_ = UniqueFd(pair[1]);

  if (DIR* fds = ::opendir("/proc/self/fd"); fds != nullptr) {
    while (const dirent* entry = ::readdir(fds)) {
      const auto fd = static_cast<std::size_t>(std::strtoul(entry->d_name, nullptr, 10));
      if (own_.size() <= fd) own_.resize(fd + 1);
      own_[fd] = static_cast<int>(fd) != ::dirfd(fds);
    }
    ::closedir(fds);
  }
  return {};
}

inline Result<void> Keeper::start_worker() {
  const pid_t keeper = ::getpid();
  table_.worker_starts.fetch_add(1);  // before it runs: its epoch is this number
  table_.worker_pid.store(0);
  auto pid = detail::fork_with_our_fds("start a worker");
  if (!pid) return pid.error();
  if (*pid == 0) {
    table_.worker_pid.store(::getpid());  // itself, for the keeper may die before it could
    ::prctl(PR_SET_NAME, "mitosis-worker");
    // Without a keeper nobody would protect the children from the worker's death: stop in order.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != keeper) ::_exit(1);
    const int status = worker_main_(table_, worker_end_.get());
    if (status == 0) table_.ended.store(1);
    ::_exit(status);
  }
  worker_pid_ = *pid;
  return {};
}

/// Sockets and the like of a dead worker: its peers must see them close. What the table names is
/// kept. Nobody else runs on this descriptor table now, so nothing can be closed by mistake.
inline void Keeper::close_what_the_worker_left() {
  std::vector<bool> keep = own_;
  const auto mark = [&keep](int fd) {
    if (fd < 0) return;
    const auto i = static_cast<std::size_t>(fd);
    if (keep.size() <= i) keep.resize(i + 1);
    keep[i] = true;
  };
  constexpr auto live = static_cast<std::uint32_t>(SlotState::live);
  for (ParentSlot& slot : table_.parents) {
    if (slot.state.load() != live) {
      slot.state.store(0);
      continue;
    }
    for (const int fd : {slot.parent_pidfd, slot.shadow_pidfd, slot.lifeline, slot.descriptor_fd,
                         slot.image_fd, slot.shared_fd}) {
      mark(fd);
    }
  }
  for (ChildSlot& slot : table_.children) {
    if (slot.state.load() != live) {
      if (slot.state.load() != 0) table_.forget(slot);
      continue;
    }
    for (const int fd :
         {slot.uffd, slot.pidfd, slot.descriptor_fd, slot.cache_fd, slot.cache_index_fd}) {
      mark(fd);
    }
    if (slot.log.spill_fd() > 0) mark(slot.log.spill_fd());
    if (slot.pending.event == UFFD_EVENT_FORK) mark(static_cast<int>(slot.pending.arg.fork.ufd));
  }
  DIR* fds = ::opendir("/proc/self/fd");
  if (fds == nullptr) return;
  std::vector<int> orphans;
  while (const dirent* entry = ::readdir(fds)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::atoi(entry->d_name);
    const auto i = static_cast<std::size_t>(fd);
    if (fd != ::dirfd(fds) && (i >= keep.size() || !keep[i])) orphans.push_back(fd);
  }
  ::closedir(fds);
  // Orders and notices that are under way name descriptors by number, which mean others soon.
  char stale[sizeof(SpawnOrder) + sizeof(SpawnNotice)];
  for (const int end : {keeper_end_.get(), worker_end_.get()}) {
    while (::recv(end, stale, sizeof stale, MSG_DONTWAIT) > 0) {
    }
  }
  unsent_.clear();
  for (const int fd : orphans) ::close(fd);
}

/// Forks one process that will take over a parent's image.
inline MadeProcess Keeper::spawn(const SpawnOrder& order, int& pidfd) {
  MadeProcess made = {.pid = 0, .step = "fork"};
  if (order.namespaces.any()) {
    made = fork_into_namespaces(order.namespaces);
  } else {
    made.pid = ::fork();
    if (made.pid < 0) made.pid = -errno;
  }
  if (made.pid > 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, made.pid, 0));
  if (made.pid != 0) return made;
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // The three may overlap 0..2 in any order: move them above first.
  int stdio[3];
  for (int i = 0; i < 3; ++i) stdio[i] = ::fcntl(order.stdio[i], F_DUPFD, 10);
  for (int i = 0; i < 3; ++i) ::dup2(stdio[i], i);
  SpawnOrder mine = order;
  mine.channel = ::dup3(order.channel, 3, 0) == 3 ? 3 : -1;
  if (order.channel == 3) mine.channel = 3;
  ::close_range(4, ~0u, 0);
  const Identity& who = order.identity;
  // To give its threads their numbers takes one capability, which the restorer gives up.
  const bool numbers = order.namespaces.pid != 0 && who.uid != 0;
  if (numbers) ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  if (::setgroups(who.group_count, who.groups) != 0 ||
      ::setresgid(who.gid, who.gid, who.gid) != 0 || ::setresuid(who.uid, who.uid, who.uid) != 0 ||
      (numbers && (!keep_one_capability(CAP_CHECKPOINT_RESTORE) ||
                   ::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0))) {  // no bit of the child's own
    ::_exit(126);
  }
  ::setsid();
  ::_exit(child_main_(mine));
}

inline void Keeper::serve_order() {
  SpawnOrder order;
  const ssize_t n = ::recv(keeper_end_.get(), &order, sizeof order, MSG_DONTWAIT);
  if (n != ssize_t{sizeof order}) return;
  SpawnNotice notice{.ticket = order.ticket};
  int pidfd = -1;
  const MadeProcess made = spawn(order, pidfd);
  if (made.pid > 0) {
    notice.pid = made.pid;
    notice.pidfd = pidfd;
    spawned_.emplace(made.pid, order.ticket);
  } else {
    notice.status = -made.pid;
    std::memcpy(notice.step, made.step, sizeof notice.step);
  }
  tell(notice);
}

/// Never waits for the worker: it may be dead, and then nobody but the keeper would notice.
inline void Keeper::tell(const SpawnNotice& notice) {
  unsent_.push_back(notice);
  send_notices();
}

inline void Keeper::send_notices() {
  for (; !unsent_.empty(); unsent_.pop_front()) {
    const ssize_t n = ::send(keeper_end_.get(), &unsent_.front(), sizeof(SpawnNotice),
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) return;
  }
}

inline void Keeper::reap(bool& worker_died, int& worker_status) {
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == guard_pid_) {
      spdlog::warn("the guard has died; starting anew");
      if (auto r = start_guard(); !r) spdlog::error("{}", describe(r.error()));
      continue;
    }
    if (pid == worker_pid_) {
      worker_died = true;
      worker_status = status;
      worker_pid_ = -1;
      continue;
    }
    const auto it = spawned_.find(pid);
    if (it == spawned_.end()) continue;
    const SpawnNotice notice{.ticket = it->second, .pid = pid, .status = status, .exited = 1};
    spawned_.erase(it);
    tell(notice);
  }
}

inline void Keeper::kill_children() noexcept {
  for (ChildSlot& slot : table_.children) {
    if (slot.state.load() == static_cast<std::uint32_t>(SlotState::live) && slot.pidfd >= 0) {
      ::syscall(SYS_pidfd_send_signal, slot.pidfd, SIGKILL, nullptr, 0);
    }
  }
  for (const auto& [pid, ticket] : spawned_) ::kill(pid, SIGKILL);
}

inline Result<int> Keeper::run() {
  if (auto r = open(); !r) return r.error();
  if (auto r = start_guard(); !r) return r.error();
  auto status = serve();
  end_guard();
  return status;
}

inline Result<int> Keeper::serve() {
  if (auto r = start_worker(); !r) return r.error();
  using Clock = std::chrono::steady_clock;
  std::deque<Clock::time_point> deaths;
  bool stopping = false;
  Clock::time_point stop_by{};
  while (true) {
    // Orders that come too late stay unread, and must not keep `poll` from its timeout.
    const short wanted = unsent_.empty() ? POLLIN : POLLIN | POLLOUT;
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {stopping ? -1 : keeper_end_.get(), wanted, 0}};
    int timeout = -1;
    if (stopping) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(stop_by - Clock::now());
      timeout = left.count() > 0 ? static_cast<int>(left.count()) : 0;
    }
    const int ready = ::poll(fds, 2, timeout);
    if (stopping && ready == 0 && worker_pid_ > 0) {
      ::kill(worker_pid_, SIGKILL);  // it had its time
    }
    if ((fds[1].revents & POLLIN) != 0) serve_order();
    if ((fds[1].revents & POLLOUT) != 0) send_notices();
    bool worker_died = false;
    int status = 0;
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == ssize_t{sizeof info}) {
      if (info.ssi_signo == SIGCHLD) continue;
      if (info.ssi_signo == SIGHUP) continue;  // the terminal may go; the agent stays
      if (!stopping && worker_pid_ > 0) ::kill(worker_pid_, SIGTERM);
      stopping = true;
      stop_by = Clock::now() + stop_deadline;
    }
    reap(worker_died, status);
    if (!worker_died) continue;
    if (stopping || WIFEXITED(status)) {
      kill_children();
      return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    const auto now = Clock::now();
    deaths.push_back(now);
    while (!deaths.empty() && now - deaths.front() > death_window) deaths.pop_front();
    spdlog::error(
        "the worker died of signal {}; {}", WTERMSIG(status),
        deaths.size() >= max_deaths ? "it does so too often, giving up" : "starting anew");
    if (deaths.size() >= max_deaths) {
      kill_children();
      return 1;
    }
    close_what_the_worker_left();
    if (auto r = start_worker(); !r) {
      kill_children();
      return r.error();
    }
  }
}

}  // namespace mitosis::agent
