// SPDX-License-Identifier: MIT
// AgentProcess: an agent that plays one machine, started and ready. World: user.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <testbed/process.hpp>

#include <chrono>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mitosis::testbed {

struct AgentSpec {
  std::string command;  ///< path of `mitosis`
  MachineId machine{0};
  std::string directory;  ///< for its socket, secret, log and ready file; not another's
  std::string secret{};   ///< the cluster's, at least 16 bytes
  std::string listen = "0.0.0.0:7411";
  std::vector<std::string> extra{};            ///< more options of `mitosis agent`
  int network = -1;                            ///< a network namespace, -1: the caller's
  std::chrono::milliseconds patience{10'000};  ///< for it to be ready
};

/// Owns a running agent; its end ends it in order.
class AgentProcess {
 public:
  /// Returns once everything is served. Its log's last line is the error's subject otherwise.
  static Result<AgentProcess> start(const AgentSpec& spec);

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
  [[nodiscard]] const std::string& log() const noexcept { return log_; }
  [[nodiscard]] Process& process() noexcept { return process_; }
  /// A new connection to it.
  [[nodiscard]] Result<local::Channel> connect() const {
    return local::connect(socket_, std::chrono::seconds(5));
  }

 private:
  AgentProcess(Process process, std::string socket, std::string log) noexcept
      : process_(std::move(process)), socket_(std::move(socket)), log_(std::move(log)) {}
  Process process_;
  std::string socket_, log_;
};

namespace detail {

inline Error agent_failure(Errc code, std::string_view about, MachineId machine) {
  return Error(code, std::string(about).c_str()).at_machine(machine).in("start its agent");
}

inline std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string last, line;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return last.empty() ? "it said nothing" : last;
}

}  // namespace detail

inline Result<AgentProcess> AgentProcess::start(const AgentSpec& spec) {
  const std::string socket = spec.directory + "/agent.sock", log = spec.directory + "/agent.log";
  const std::string ready = spec.directory + "/ready", secret = spec.directory + "/secret";
  ::unlink(ready.c_str());  // of an earlier agent of this machine
  if (::mkdir(spec.directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return detail::agent_failure(Errc::system_call_failed, spec.directory, spec.machine);
  }
  const UniqueFd file(::open(secret.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const auto size = static_cast<ssize_t>(spec.secret.size());
  const UniqueFd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file || !out || ::write(file.get(), spec.secret.data(), spec.secret.size()) != size) {
    return detail::agent_failure(Errc::system_call_failed, spec.directory, spec.machine);
  }

  ProcessSpec program;
  program.argv = {spec.command,    "agent",
                  "--machine",     std::to_string(static_cast<std::uint32_t>(spec.machine)),
                  "--listen",      spec.listen,
                  "--socket",      socket,
                  "--secret-file", secret,
                  "--ready-file",  ready};
  program.argv.insert(program.argv.end(), spec.extra.begin(), spec.extra.end());
  program.network = spec.network;
  program.out = program.err = out.get();
  program.death_signal = SIGTERM;  // it has children to end and sockets to remove
  program.grace = std::chrono::seconds(8);
  Result<Process> process = Process::start(program);
  if (!process) return process.error();

  const auto deadline = std::chrono::steady_clock::now() + spec.patience;
  while (::access(ready.c_str(), F_OK) != 0) {
    const auto now = std::chrono::steady_clock::now();
    if (process->wait(now + std::chrono::milliseconds(2))) {
      return detail::agent_failure(Errc::agent_not_running, detail::last_line(log), spec.machine);
    }
    if (now > deadline) {
      return detail::agent_failure(Errc::timed_out, detail::last_line(log), spec.machine);
    }
  }
  return AgentProcess(std::move(*process), socket, log);
}

}  // namespace mitosis::testbed
