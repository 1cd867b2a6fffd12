// SPDX-License-Identifier: MIT
// Pager: a thread that serves the faults of a set of children. World: user.
// All children of one descriptor have the same pager, so that the cache they share, the endpoints
// and each child's page map are used by one thread and need no lock.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/pager_fabric.hpp>
#include <mitosis/fork/user/agent/refusal_log.hpp>
#include <mitosis/fork/user/agent/served_child.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>
#include <mitosis/fork/user/agent/working_sets.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/policy/name.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// What ancestors still hold of a process, for a descriptor of its own.
struct Ancestry {
  struct Run {
    PageRange pages;
    std::uint16_t owner = 0;  ///< index into the image's owners
    PageNumber source{};
    bool cached = false;  ///< mapped in the process too; its own bytes count where it has written
  };
  std::shared_ptr<const Image> image;  ///< null: the process is nobody's child
  std::vector<Run> runs;
};

class Pager {
 public:
  struct Options {
    Deadlines deadlines;
    std::uint64_t sweep_ns = 1'000'000'000;  ///< how often dead address spaces are looked for
    std::uint64_t first_ns = 500'000'000;    ///< of a child's life: what it fetches then is learned
  };
  /// A child to be served. The slot is filled in, its state is `filling`; the pager makes it live.
  struct Newcomer {
    ChildSlot* slot = nullptr;
    std::shared_ptr<const Image> image;
    PolicyName policy;
    std::shared_ptr<LocalCache> cache;  ///< with Cache<Local>
    std::shared_ptr<const MemfdRanges> memfd;
  };

  /// The fabrics of the two transports; `registrar`, where they need one for what reads land in.
  struct Fabrics {
    PagerFabric rc, dct;
    Registrar* registrar = nullptr;
  };
  Pager(std::uint32_t index, StateTable& table, Options options, Fabrics fabrics,
        FallbackReader::Call fallback, ProfileBook& book);
  ~Pager();
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;
  /// Begins to serve. limit_exceeded where it has got no descriptors to hear by.
  Result<void> start();

  // From any thread; each but foresee waits for the pager's thread.
  /// Serves the child from now on. With `resumed` false it was another worker's: what it did to its
  /// address space is read from the slot's log, and everybody who sleeps in a fault is woken.
  Result<void> adopt(const Newcomer& newcomer, bool resumed);
  /// Brings every page of a child with Eager; returns when they are there.
  Result<void> bring_all(std::uint64_t id, Time deadline);
  /// A child's memory is mapped and it begins to run: with Prefetch it gets ahead what the
  /// children of its parent fetched first here. Does not wait.
  void foresee(std::uint64_t id);
  /// Stops serving a child whose resume has failed.
  void drop(std::uint64_t id);
  /// What ancestors hold of `pid`, which `parent_pid` has forked; nothing where that is no child.
  Result<Ancestry> ancestry_of_fork(std::uint32_t parent_pid, std::uint32_t pid);
  /// The agent stops: ends every child; what its pager has to leave behind gets SIGBUS, not zeros.
  void end_all();
  /// Adds what the children that live now have recorded; the dead have told the book already.
  void report(ProfileBook& book);
  /// Drops the connections to a machine.
  void forget(MachineId machine);

 private:
  using Entries = std::unordered_map<std::uint32_t, std::unique_ptr<ServedChild>>;
  enum class Source : std::uint32_t { commands, rc, dct, fallback, uffd, pidfd };

  void run();
  [[nodiscard]] int patience_ms(Time now) const noexcept;
  void wake() noexcept;
  void on_event(std::uint64_t data);
  template <class Body>
  auto ask(Body body) -> decltype(body());
  void tell(std::function<void()> command);

  Result<void> admit(const Newcomer& newcomer, bool resumed);
  std::unique_ptr<PagedChild> make_child(const Newcomer& newcomer, std::uint32_t number);
  Errc replay(ServedChild& entry);
  void watch(ServedChild& entry);
  ServedChild* find(std::uint64_t id);

  void read_events(ServedChild& entry);
  void take_event(ServedChild& entry);
  void change(ServedChild& entry, const AddressSpaceEvent& event);
  bool carry_out(ServedChild& entry, const AddressSpaceEvent& event);
  void adopt_fork(ServedChild& entry, int uffd);
  Result<ChildSlot*> take_past_share(ServedChild& entry, const Error& why);
  void doom(ServedChild& entry);
  ServedChild* find_fork(std::uint32_t parent_pid, std::uint32_t pid, bool& unclear);
  Ancestry look_for_fork(std::uint32_t parent_pid, std::uint32_t pid, bool& unclear);
  void learn_pid(ServedChild& entry, std::uint32_t tid);

  bool poll(PagerFabric& fabric);
  void complete(const ReadCompletion& completion);
  void after(ServedChild& entry);
  void on_time(Time now);
  void sweep();
  void end(ServedChild& entry);
  void bury_the_dead();

  const std::uint32_t index_;
  StateTable& table_;
  const Options options_;
  LandingPool landings_;  // before the fabrics, which end what may still write to it
  PagerFabric rc_, dct_;
  bool rc_ready_ = true, dct_ready_ = true;  ///< epoll says that there is something to poll
  FallbackReader fallback_;
  ProfileBook& book_;
  CacheWaiters nobody_;  // of Cache<None>
  std::unordered_map<LocalCache*,
                     std::pair<std::weak_ptr<LocalCache>, std::unique_ptr<CacheWaiters>>>
      waiters_;
  WorkingSets working_sets_;
  UniqueFd epoll_;
  int deaf_ = 0;           ///< errno, where it cannot hear
  UniqueFd wake_, waker_;  ///< a pipe: there is a command
  Entries entries_;
  std::uint32_t next_number_ = 0;
  std::set<std::pair<Time, std::uint32_t>> timers_;
  std::vector<std::uint32_t> dying_;
  Time next_sweep_{};
  RefusalLog lost_pages_{"a child gets SIGBUS", spdlog::level::warn};
  std::mutex mutex_;
  std::vector<std::function<void()>> commands_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mitosis::agent

#include <mitosis/fork/user/agent/pager_children.hpp>
#include <mitosis/fork/user/agent/pager_events.hpp>
#include <mitosis/fork/user/agent/pager_loop.hpp>
