// SPDX-License-Identifier: MIT
// serve_machine: the agent from its options to its end. World: user.
// Everything of the agent but its policies is compiled where this is included; programs call
// run_agent (options.hpp), which one translation unit defines by it.
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/base/socket_at.hpp>
#include <mitosis/fork/user/agent/keeper.hpp>
#include <mitosis/fork/user/agent/options.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/agent/worker_adopt.hpp>
#include <mitosis/fork/user/agent/worker_device.hpp>
#include <mitosis/fork/user/agent/worker_impl.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <mitosis/fork/user/restore/launch.hpp>
#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/pool/socket_path.hpp>
#include <mitosis/policy/parse.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>

namespace mitosis::agent {

namespace detail {

/// Its own dozens, and as many for a few parents and children; with fewer it would start, and then
/// fail each call.
inline constexpr rlim_t fewest_files = 256;

/// What the agent does for its callers takes these; each is named where it is missing.
inline Result<void> check_privileges() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) {
    return Error(Errc::system_call_failed, "capget", errno).in("start the agent");
  }
  const std::pair<unsigned, const char*> needed[] = {
      {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
      {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
      {CAP_KILL, "CAP_KILL"},
      {CAP_SETUID, "CAP_SETUID"},
      {CAP_SETGID, "CAP_SETGID"},
  };
  for (const auto& [bit, name] : needed) {
    if ((data[bit / 32].effective >> (bit % 32) & 1) == 0) {
      const std::string about = std::string(name) + "; run it as root";
      return Error(Errc::missing_privilege, about.c_str()).in("start the agent");
    }
  }
  return {};
}

inline Result<UniqueFd> open_device() noexcept {
  UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (!device) {
    return Error(errno == EACCES ? Errc::missing_privilege : Errc::system_call_failed,
                 "/dev/userfaultfd (Linux 6.1 or newer with CONFIG_USERFAULTFD)", errno)
        .in("start the agent");
  }
  return device;
}

/// Whether an agent is at its other end. What else may hold its socket open: the guard of a
/// killed agent, and for a moment whatever of one has not ended yet.
inline bool agent_answers(const local::Channel& connection) {
  constexpr std::chrono::milliseconds patience{500};
  return connection.call<local::Done>(local::Nil{}, local::within(patience)).ok();
}

/// `option` says where another one can be given.
inline Result<void> make_folder_of(const std::string& path, const char* option) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  const std::string folder = path.substr(0, slash);
  if (::mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) return {};
  const int err = errno;
  const std::string what = folder + ", the socket's folder; make it, or give another " + option;
  return Error(Errc::system_call_failed, what.c_str(), err).in("start the agent");
}

/// Removes the socket of an agent that died; one that still runs is left alone, as is whatever else
/// is there. What is left of a killed one is waited for, as its guard, which ends its children.
inline Result<UniqueFd> open_local_socket(const std::string& path) {
  if (auto r = make_folder_of(path, "--socket"); !r) return r.error();
  const auto refused = [&path](const char* why) {
    return Error(Errc::invalid_argument, (path + why + "; give another --socket").c_str())
        .in("start the agent");
  };
  const auto until = std::chrono::steady_clock::now() + 2 * Keeper::stop_deadline;
  while (true) {
    const SocketAt there = socket_at(path);
    if (there == SocketAt::nothing || there == SocketAt::dead) break;
    if (there == SocketAt::no_socket) return refused(": is there already, and no socket");
    if (there == SocketAt::other) return refused(": another program listens there");
    const auto other = local::connect(path, std::chrono::milliseconds(200));
    if (other.code() == Errc::agent_not_running) continue;  // it has just ended
    if (!other && other.code() != Errc::timed_out) return other.error();
    if ((other && agent_answers(*other)) || std::chrono::steady_clock::now() > until) {
      return refused(": another agent listens there");
    }
    (void)::usleep(20'000);  // nothing tells of its end
  }
  ::unlink(path.c_str());
  return local::listen(path);
}

/// Where processes attach to the connection pool. The keeper's: what an administrator lets them do
/// with it (its owner and mode) stays when a worker dies.
inline Result<UniqueFd> open_pool_socket(const std::string& path) {
  if (auto r = make_folder_of(path, "--pool-socket"); !r) return r.error();
  return pool::listen_at(path);
}

/// Tells whoever waits for it that everything is served.
inline Result<void> write_ready_file(const std::string& path) {
  if (path.empty()) return {};
  FILE* const file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return Error(Errc::system_call_failed, path.c_str(), errno).in("write the ready file");
  }
  std::fprintf(file, "%d\n", ::getppid());
  if (std::fclose(file) == 0) return {};
  return Error(Errc::system_call_failed, path.c_str(), errno).in("write the ready file");
}

/// In the worker: serves until SIGTERM (from the keeper) or until the keeper is gone.
inline int run_worker(const AgentOptions& options, StateTable& table,
                      Worker::Inheritance inherited) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  auto worker = Worker::start(options, table, inherited);
  if (!worker) {
    spdlog::error("{}", describe(worker.error()));
    return 1;
  }
  spdlog::info("machine {} serves {} at {}", static_cast<std::uint32_t>(options.machine),
               options.socket, (*worker)->advertised());
  if (auto r = write_ready_file(options.ready_file); !r) {
    spdlog::error("{}", describe(r.error()));
    if (table.worker_starts.load() == 1) return 1;  // later there may be children to serve
  }
  while (true) {
    const auto tick = (*worker)->tick();
    const timespec wait = {tick.count() / 1000, (tick.count() % 1000) * 1'000'000};
    if (::sigtimedwait(&stop, nullptr, &wait) == SIGTERM) return 0;
    (*worker)->on_tick();
    if (auto r = (*worker)->look_after_device(); !r) leave_to_next_worker(r.error());
  }
}

/// In a process that the keeper has forked: becomes the child, or says why not by its status; the
/// agent has heard it too.
inline int run_spawned(const SpawnOrder& order) {
  restore::ResumeRequest request{order.machine, order.handler, order.key, order.policy};
  request.warn = [](const char* sentence) {
    const std::string line = std::string("mitosis: resume: ") + sentence + "\n";
    (void)!::write(STDERR_FILENO, line.data(), line.size());
  };
  request.same_numbers = order.namespaces.pid != 0;
  const local::ChannelView channel(order.channel);
  auto failed = restore::take_over(channel, request);
  (void)channel.send(local::Failed{failed.error()}, local::within(std::chrono::seconds(1)));
  return 125;
}

}  // namespace detail

/// Runs the agent of this machine until SIGTERM or SIGINT; returns the exit status (0 in order,
/// 1 with the reason logged). Needs root, or the capabilities that check_privileges names.
inline int serve_machine(const AgentOptions& options) {
  const auto fail = [](const Error& error) {
    spdlog::error("{}", describe(error));
    return 1;
  };
  if (auto r = detail::check_privileges(); !r) return fail(r.error());
  if (auto r = parse_policy(options.policy.c_str(), options.policy.size()); !r) {
    return fail(r.error());
  }
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {  // each child takes a handful
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < detail::fewest_files) {
      const std::string about = "only " + std::to_string(files.rlim_max) +
                                " files may be open, and it takes " +
                                std::to_string(detail::fewest_files) + "; raise `ulimit -Hn`";
      return fail(Error(Errc::limit_exceeded, about.c_str()).in("start the agent"));
    }
  }
  const std::string pool_path =
      options.pool_socket.empty() ? pool::socket_of_agent(options.socket) : options.pool_socket;
  if (options.verbs && pool_path == options.socket) {
    const std::string about = pool_path +
                              ": is the agent's own (--socket); give another "
                              "--pool-socket";
    return fail(Error(Errc::invalid_argument, about.c_str()).in("start a connection pool"));
  }
  auto device = detail::open_device();
  if (!device) return fail(device.error());
  auto table = StateTable::create();
  if (!table) return fail(table.error());
  std::uint64_t generation = 0;
  if (::getrandom(&generation, sizeof generation, 0) != ssize_t{sizeof generation}) return 1;
  (*table)->next_generation.store(generation | 1);
  (*table)->next_id.store(1);
  auto socket = detail::open_local_socket(options.socket);
  if (!socket) return fail(socket.error());
  UniqueFd pool_socket;
  UniqueFd images;
  if (options.verbs) {
    auto opened = detail::open_pool_socket(pool_path);
    if (!opened) return fail(opened.error());
    pool_socket = std::move(opened).value();
    images = UniqueFd(::memfd_create("mitosis-images", MFD_CLOEXEC));
    if (!images) return fail(Error(Errc::system_call_failed, "memfd_create", errno));
  }

  Keeper keeper(
      **table,
      [&](StateTable& t, int orders) {
        return detail::run_worker(
            options, t, {socket->get(), orders, device->get(), pool_socket.get(), images.get()});
      },
      [](const SpawnOrder& order) { return detail::run_spawned(order); });
  auto status = keeper.run();
  ::unlink(options.socket.c_str());
  if (pool_socket) ::unlink(pool_path.c_str());
  return status ? *status : fail(status.error());
}

}  // namespace mitosis::agent
