// SPDX-License-Identifier: MIT
// Session: one connection of a program of this machine. World: user.
// Who asks is what the kernel says of each packet's sender, never what the packet says.
#pragma once

#include <mitosis/fork/user/agent/caller_rights.hpp>
#include <mitosis/fork/user/agent/tree_resume.hpp>
#include <mitosis/fork/user/agent/worker.hpp>
#include <mitosis/fork/user/capture/files/dropped.hpp>
#include <mitosis/fork/user/capture/trace/shadow_ops.hpp>
#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::agent {

namespace detail {
struct SpawnBatch;
struct WaitingCaller;
}  // namespace detail

/// Runs on the connection's thread until the peer closes it or becomes a shadow.
class Session {
 public:
  Session(Worker& worker, local::Channel channel) : worker_(worker), channel_(std::move(channel)) {}
  /// For a child made by spawn: its caller has fetched what it resumes, and, where that is a tree's
  /// root and has a pid namespace, the members. `tree` is of one of these, or null.
  Session(Worker& worker, local::Channel channel, std::shared_ptr<const Image> ticket,
          MemberImages members = {}, TreeResume* tree = nullptr)
      : worker_(worker),
        channel_(std::move(channel)),
        ticket_(std::move(ticket)),
        members_(std::move(members)),
        tree_(tree) {}

  void run();
  /// The agent's side of one spawned process, up to its first instruction. `pidfd`: it, not owned.
  Result<void> resume_spawned(int pidfd = -1);

  /// How long a reply may take to be taken.
  static constexpr std::chrono::seconds reply_deadline{5};
  /// How long a step of a resume or a prepare may take.
  static constexpr std::chrono::seconds step_deadline{10};

 private:
  /// False: the connection is done with.
  bool serve(local::Packet packet);

  Result<void> connect(const local::Packet& packet);
  Result<void> reclaim(const local::Packet& packet);
  Result<void> prepare(const local::Packet& packet);
  Result<void> prepare_process(const local::Packet& packet);
  struct FreezeOutcome {
    std::uint32_t threads = 0;
    std::uint64_t stopped_ns = 0;
    pid_t shadow = 0;
    capture::Dropped dropped;
  };
  Result<FreezeOutcome> freeze(const std::shared_ptr<Parent>& parent, const CallerRights& rights,
                               const capture::Lifeline& lifeline, bool lossy,
                               const detail::WaitingCaller& caller);
  Result<local::Prepared> capture_caller(const local::Packet& packet, const local::Prepare& message,
                                         const std::shared_ptr<Parent>& parent);
  void become_lifeline(const local::Packet& packet);
  Result<void> capture(PendingPrepare& pending, const local::Packet& packet,
                       const local::ShadowReady& ready);
  Result<void> resume(const local::Packet& packet);
  Result<std::vector<UniqueFd>> bring_shared_of(const Image& image);
  Result<void> resume_image(const local::Resume& message,
                            const std::shared_ptr<const Image>& image);
  Result<void> resume_root(const local::Resume& message, const std::shared_ptr<const Image>& image);
  Result<MemberImages> fetch_members(const Image& root, std::uint32_t uid);
  Result<void> begin_members(local::Packet& packet);
  Result<void> spawn(local::Packet packet);
  void make_children(detail::SpawnBatch& batch);
  Result<void> make_child(detail::SpawnBatch& batch);
  Result<void> list(const local::Packet& packet);
  Result<void> stats(const local::Packet& packet);

  Result<std::shared_ptr<const Image>> fetch(MachineId machine, HandlerId handler,
                                             const AuthKey& key, std::uint32_t uid);
  template <local::LocalMessage M>
  Result<void> reply(const M& message, Span<const int> fds = {}) {
    return channel_.send(message, local::within(reply_deadline), fds);
  }

  Worker& worker_;
  local::Channel channel_;
  std::shared_ptr<const Image> ticket_;
  MemberImages members_;
  TreeResume* tree_ = nullptr;
  int root_pidfd_ = -1;
  std::vector<std::thread> lanes_;  ///< of a root: one for each member
  bool done_ = false;               ///< the connection has served its purpose
};

}  // namespace mitosis::agent

#include <mitosis/fork/user/agent/capture_session.hpp>
#include <mitosis/fork/user/agent/list_session.hpp>
#include <mitosis/fork/user/agent/prepare_session.hpp>
#include <mitosis/fork/user/agent/resume_session.hpp>
#include <mitosis/fork/user/agent/session_impl.hpp>
#include <mitosis/fork/user/agent/spawn_session.hpp>
#include <mitosis/fork/user/agent/tree_session.hpp>
