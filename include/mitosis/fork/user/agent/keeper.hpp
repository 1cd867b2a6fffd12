// SPDX-License-Identifier: MIT
// Keeper: the agent's first process. It starts the worker that does everything, starts a new one
// when it dies, and makes and reaps the children of `spawn`. World: user.
// It is single-threaded and small so that it has little to die of and is cheap to fork. The two
// share their file descriptors (clone(2), CLONE_FILES): whatever the worker had open is still open
// for its successor, userfaultfds above all, whose last close would make children read zeros. A
// third process, the guard, shares them too and does nothing but wait: should both be killed in
// the same instant, it has a last worker end the children in order.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/orders.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

namespace mitosis::agent {

class Keeper {
 public:
  /// Runs in the worker; its result is the worker's exit status. `orders` is the worker's end of
  /// the socket pair; it stays the same descriptor for every worker.
  using WorkerMain = std::function<int(StateTable&, int orders)>;
  /// Runs in a freshly forked process and returns only on failure (its exit status).
  using ChildMain = std::function<int(const SpawnOrder&)>;

  /// Descriptors that are open now belong to the keeper and stay open for every worker.
  Keeper(StateTable& table, WorkerMain worker, ChildMain child)
      : table_(table), worker_main_(std::move(worker)), child_main_(std::move(child)) {}

  /// Runs until SIGTERM, SIGINT or until the worker ends by itself; returns the exit status.
  /// A worker that dies is replaced; one that dies `max_deaths` times within `death_window` is
  /// not, and then all children are killed rather than left without a pager.
  Result<int> run();

  static constexpr int max_deaths = 8;
  static constexpr std::chrono::seconds death_window{10};
  /// How long the worker may take to end its children and connections when told to.
  static constexpr std::chrono::seconds stop_deadline{5};

 private:
  Result<int> serve();
  Result<void> open();
  Result<void> start_guard();
  void end_guard() noexcept;
  int guard();
  void wait_for_the_worker() const noexcept;
  int end_orphans();
  Result<void> start_worker();
  void close_what_the_worker_left();
  void serve_order();
  void tell(const SpawnNotice& notice);
  void send_notices();
  void reap(bool& worker_died, int& worker_status);
  MadeProcess spawn(const SpawnOrder& order, int& pidfd);
  void kill_children() noexcept;

  StateTable& table_;
  WorkerMain worker_main_;
  ChildMain child_main_;
  UniqueFd signals_, keeper_end_, worker_end_;
  UniqueFd self_;          // the keeper's pidfd, for the guard
  std::vector<bool> own_;  // descriptor numbers that are not a worker's
  int worker_pid_ = -1, guard_pid_ = -1;
  std::unordered_map<int, std::uint64_t> spawned_;  // pid -> ticket
  std::deque<SpawnNotice> unsent_;                  // the worker has yet to make room for them
};

}  // namespace mitosis::agent

#include <mitosis/fork/user/agent/keeper_guard.hpp>
#include <mitosis/fork/user/agent/keeper_impl.hpp>
