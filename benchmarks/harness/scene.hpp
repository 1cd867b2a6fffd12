// SPDX-License-Identifier: MIT
// Scene: parents on one machine of a Cluster, and their children on the other. World: user.
#pragma once

#include <harness/cluster.hpp>
#include <harness/talker.hpp>
#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// A prepared parent, as who resumes it names it.
struct Handle {
  std::uint64_t handler = 0;
  std::string key;      ///< 32 hexadecimal digits
  double pause_ns = 0;  ///< how long prepare kept the parent
};

/// A resumed child and when the resume was called (CLOCK_MONOTONIC).
struct Child {
  Talker program;
  std::int64_t called_ns = 0;
};

/// Makes parents and children; does not own them.
class Scene {
 public:
  explicit Scene(Cluster& cluster) : cluster_(&cluster) {}

  /// A program on the parent's machine that answers "ok" once it is there.
  std::optional<Talker> start_parent(std::vector<std::string> argv,
                                     std::vector<std::string> environment = {}) {
    auto parent = start(std::move(argv), cluster_->parent_agent(), std::move(environment));
    if (!parent || !parent->answer()) return std::nullopt;
    return parent;
  }
  std::optional<Talker> start_touched_parent(std::size_t mebibytes) {
    return start_parent({build_file("benchmarks/touched_parent"), std::to_string(mebibytes)});
  }

  /// Every prepare has a handler id of its own.
  std::optional<Handle> prepare(Talker& parent, const std::string& policy) {
    Handle handle;
    handle.handler = ++last_handler_;
    const auto said = parent.ask("prepare " + std::to_string(handle.handler) + " " + policy);
    if (!said || said->size() != 2) return std::nullopt;
    handle.pause_ns = std::strtod((*said)[0].c_str(), nullptr);
    handle.key = (*said)[1];
    return handle;
  }
  /// A parent that knows nothing of it is prepared by its pid; its key and facts.
  std::optional<mitosis::local::ProcessPrepared> prepare_process(int pid, Handle& handle,
                                                                 const std::string& policy = {}) {
    auto agent = cluster_->parent_agent().connect();
    if (!agent) return std::nullopt;
    mitosis::local::PrepareProcess request;
    request.pid = pid;
    request.handler = mitosis::HandlerId{handle.handler = ++last_handler_};
    request.policy = policy;
    auto prepared = agent->call<mitosis::local::ProcessPrepared>(
        request, mitosis::local::within(std::chrono::seconds(20)));
    if (!prepared) {
      std::fprintf(stderr, "benchmark: %s\n", mitosis::describe(prepared.error()).c_str());
      return std::nullopt;
    }
    handle.key = mitosis::format_key(prepared->key);
    return std::move(*prepared);
  }
  bool reclaim(const Handle& handle) {
    auto agent = cluster_->parent_agent().connect();
    mitosis::local::Reclaim request;
    request.handler = mitosis::HandlerId{handle.handler};
    return agent && agent->call<mitosis::local::Done>(
                        request, mitosis::local::within(std::chrono::seconds(20)));
  }
  static bool reclaim(Talker& parent, const Handle& handle) {
    return parent.ask("reclaim " + std::to_string(handle.handler)).has_value();
  }

  /// A child on the other machine; it may not have run its first instruction yet.
  /// `waiting`: as Talker::start's.
  std::optional<Child> resume(const Handle& handle, const std::string& policy,
                              bool waiting = false) {
    auto child = start(
        {build_file("benchmarks/launch"), "1", std::to_string(handle.handler), handle.key, policy},
        cluster_->child_agent(), {}, waiting);
    if (!child) return std::nullopt;
    const auto called = child->answer();
    if (!called || called->size() != 1) return std::nullopt;
    return Child{std::move(*child), std::strtoll((*called)[0].c_str(), nullptr, 10)};
  }
  /// The same once it has run it, and when it did.
  std::optional<Child> resume(const Handle& handle, const std::string& policy,
                              std::int64_t& first_ns) {
    auto child = resume(handle, policy);
    if (!child) return std::nullopt;
    const auto first = child->program.ask("first");
    if (!first || first->size() != 1) return std::nullopt;
    first_ns = std::strtoll((*first)[0].c_str(), nullptr, 10);
    return child;
  }

  [[nodiscard]] Cluster& cluster() noexcept { return *cluster_; }

 private:
  static std::optional<Talker> start(std::vector<std::string> argv,
                                     const testbed::AgentProcess& machine,
                                     std::vector<std::string> environment = {},
                                     bool waiting = false) {
    testbed::ProcessSpec spec;
    spec.argv = std::move(argv);
    spec.environment = std::move(environment);
    spec.environment.push_back(Cluster::environment(machine));
    return Talker::start(std::move(spec), waiting);
  }
  Cluster* cluster_;
  std::uint64_t last_handler_ = 0;
};

}  // namespace bench
