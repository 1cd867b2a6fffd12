// SPDX-License-Identifier: MIT
// Agent: a program's connection to its machine's agent, for C++. World: user.
#pragma once

#include <mitosis/fork/user/client/children.hpp>
#include <mitosis/fork/user/client/prepare.hpp>
#include <mitosis/fork/user/client/prepare_process.hpp>
#include <mitosis/fork/user/client/resume.hpp>

#include <string>
#include <utility>
#include <vector>

namespace mitosis {

/// Owns a connection; move-only. One thread at a time. After fork() both processes may go on using
/// theirs, and so may a resumed child: it then speaks to the agent of the machine it runs on.
class Agent {
 public:
  using Outcome = client::PrepareOutcome;

  /// $MITOSIS_SOCKET, or /run/mitosis/agent.sock. agent_not_running, missing_privilege.
  static Result<Agent> open() {
    const Result<int> sd = client::connections().open();
    if (!sd) return sd.error();
    return Agent(*sd);
  }
  Agent(Agent&& other) noexcept : sd_(std::exchange(other.sd_, -1)) {}
  Agent& operator=(Agent&& other) noexcept {
    if (this != &other) {
      client::connections().close(sd_);
      sd_ = std::exchange(other.sd_, -1);
    }
    return *this;
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent() { client::connections().close(sd_); }

  /// Returns once in this process, with the key, and once in every child that is ever resumed from
  /// here, with `child` set. All its threads come along. See client::prepare.
  Result<Outcome> prepare(HandlerId handler, const char* policy = nullptr) const {
    return client::prepare(sd_, handler, policy);
  }
  /// Prepares another process, that need not know of it. See client::prepare_process.
  Result<local::ProcessPrepared> prepare_process(pid_t pid, HandlerId handler,
                                                 const char* policy = nullptr,
                                                 client::ProcessOptions options = {}) const {
    return client::prepare_process(sd_, pid, handler, policy, options);
  }
  /// This process becomes a child of `request.handler`, as if by execve; returns only on failure,
  /// and then it is as before. Must be the only thread.
  [[nodiscard]] Error resume(const restore::ResumeRequest& request) const {
    return client::resume(request);
  }
  /// Ends a handler of this machine; access to its pages ends before it returns.
  Result<void> reclaim(HandlerId handler) const { return client::reclaim(sd_, handler); }
  /// The same anywhere, by the key.
  Result<void> reclaim(MachineId machine, HandlerId handler, const AuthKey& key) const {
    return client::reclaim(sd_, machine, handler, key);
  }
  /// Makes a machine known. Root only.
  Result<void> connect(MachineId machine, const std::string& address, std::uint32_t nic = 0) const {
    return client::connect_machine(sd_, machine, nic, address);
  }
  /// Its counters as a JSON object; "machine" is its id.
  Result<std::string> stats() const { return client::stats(sd_); }
  /// Calls the agent of a machine that this machine's agent knows.
  Result<void> ping(MachineId machine) const { return client::ping_machine(sd_, machine); }
  Result<void> nil() const { return client::nil(sd_); }
  /// Children that the agent makes; `stdio` is three descriptors, or none for /dev/null.
  Result<std::vector<client::SpawnedChild>> spawn(const local::Spawn& request,
                                                  Span<const int> stdio = {}) const {
    return client::spawn(sd_, request, stdio);
  }
  /// The next end of one of them, or none in that time.
  Result<std::optional<local::ChildExited>> wait(std::chrono::milliseconds patience) const {
    return client::wait_child(sd_, patience);
  }

 private:
  explicit Agent(int sd) noexcept : sd_(sd) {}
  int sd_;
};

}  // namespace mitosis
