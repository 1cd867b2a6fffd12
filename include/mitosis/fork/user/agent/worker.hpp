// SPDX-License-Identifier: MIT
// Worker: the agent's second process, which does everything but outlive itself. World: user.
// Owns the parts and puts them together; each part's own header says what it does.
#pragma once

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/capture_turns.hpp>
#include <mitosis/fork/user/agent/greeter.hpp>
#include <mitosis/fork/user/agent/image.hpp>
#include <mitosis/fork/user/agent/local_server.hpp>
#include <mitosis/fork/user/agent/options.hpp>
#include <mitosis/fork/user/agent/pager.hpp>
#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/fork/user/agent/peers.hpp>
#include <mitosis/fork/user/agent/pending_prepares.hpp>
#include <mitosis/fork/user/agent/rdma_side.hpp>
#include <mitosis/fork/user/agent/refusal_log.hpp>
#include <mitosis/fork/user/agent/service.hpp>
#include <mitosis/fork/user/agent/shadow_reaper.hpp>
#include <mitosis/fork/user/agent/spawner.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>
#include <mitosis/mem/cache_registry.hpp>
#include <mitosis/mem/registered_room.hpp>
#include <mitosis/mem/target_table.hpp>
#include <mitosis/net/pool/no_pool.hpp>
#include <mitosis/net/tcp/server.hpp>

#include <memory>
#include <variant>
#include <vector>

namespace mitosis::agent {

class Worker {
 public:
  /// What the keeper has made before the first worker, and keeps for the next one.
  struct Inheritance {
    int local_socket = -1;  ///< listening
    int orders = -1;        ///< to the keeper
    int device = -1;        ///< /dev/userfaultfd
    int pool_socket = -1;   ///< of verbs: listening, for the connection pool's processes
    int images = -1;        ///< of verbs: a memfd, for copies of parents
  };

  /// Starts every part; on failure none is left running.
  static Result<std::unique_ptr<Worker>> start(const AgentOptions& options, StateTable& table,
                                               Inheritance inherited);
  /// Ends its children, its connections and its threads, in this order.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Looks after leases and caches; to be called about every `tick`.
  void on_tick();
  [[nodiscard]] std::chrono::milliseconds tick() const noexcept;
  /// Of verbs, with each tick. An error: only another worker can go on, without the device that has
  /// failed or with one that is there again. This one must die as if it were killed, so that its
  /// children and parents are taken over: all that it has of the device ends with its process.
  [[nodiscard]] Result<void> look_after_device();

  // ---- the parts, for the sessions ----
  const AgentOptions options;
  StateTable& table;
  const int device;
  /// Of verbs: what an earlier worker has put into the images' file, where this one has no room of
  /// its own there. Nothing is added.
  RegisteredRoom<std::monostate> kept_images;
  TargetTable targets;
  std::unique_ptr<RdmaSide> rdma;  ///< null with --fabric tcp, and where the device has gone
  CaptureTurns capture_turns;
  ShadowReaper shadow_reaper{capture_turns};
  Parents parents;
  PendingPrepares prepares;
  Images images;
  CacheRegistry caches;
  ProfileBook profile;
  RefusalLog refused_connections{"a connection was refused", spdlog::level::warn};
  RefusalLog refused_calls{"a call of a program failed", spdlog::level::info};
  std::unique_ptr<Peers> peers;
  std::vector<std::unique_ptr<Pager>> pagers;
  std::unique_ptr<Spawner> spawner;
  std::unique_ptr<LocalServer> local;

  /// The pager of all children of that image.
  Pager& pager_of(const ImageName& name) noexcept;
  /// What of the memory budget neither caches nor copied parents have taken.
  [[nodiscard]] std::uint64_t budget_left() const;
  /// Where other machines reach this one, for descriptors.
  [[nodiscard]] std::string advertised() const;

 private:
  /// After a device has failed none is tried for so long (ns): the keeper gives up on workers that
  /// die too often.
  static constexpr std::uint64_t device_pause = 5'000'000'000;

  Worker(const AgentOptions& o, StateTable& t, Inheritance inherited);
  Result<void> open(Inheritance inherited);
  Result<void> use_device(int images);
  void adopt_parents();
  void note_device_failure();
  [[nodiscard]] std::uint64_t device_pause_left() const;
  void use_datagrams();
  void hold_pool(int listener);
  Result<void> open_pagers();
  void adopt_children();
  Result<void> adopt(ChildSlot& slot);

  AgentService service_;
  tcp::ServedTargets<TargetTable> reads_;
  std::unique_ptr<tcp::Server> server_;
  std::unique_ptr<Greeter> greeter_;
  std::unique_ptr<pool::NoPool> no_pool_;  ///< of verbs, where no pool is held
  std::uint16_t port_ = 0;
  std::uint64_t next_device_look_ = 0;  ///< monotonic, ns
  Clock::time_point next_renewal_{};
};

}  // namespace mitosis::agent
