// SPDX-License-Identifier: MIT
// Parents: the prepared parents of this machine, from the call of prepare to reclaim. World: user.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/parent.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>
#include <mitosis/fork/user/agent/target_observer.hpp>
#include <mitosis/mem/target_table.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace mitosis::agent {

class ShadowReaper;

/// Thread-safe. Takes part in the lease: a parent whose process has exited is reclaimed when
/// nobody has used it for `lease`.
class Parents {
 public:
  Parents(StateTable& table, TargetTable& targets, Clock::duration lease)
      : table_(table), targets_(targets), lease_(lease) {}

  /// Tells `observer`, which must outlive it, of parents from now on; before the first one.
  void observe(TargetObserver* observer) noexcept { observer_ = observer; }
  /// Tells `reaper`, which must outlive it, of shadows that it ends from now on.
  void reap_with(ShadowReaper* reaper) noexcept { reaper_ = reaper; }
  /// Copies are made so that a device can read them from now on: one that is there, or one that a
  /// later worker has.
  void expect_device() noexcept { for_device_ = true; }
  /// Reserves a handler id and draws its key and generation.
  Result<std::shared_ptr<Parent>> reserve(HandlerId handler, std::uint32_t uid, int pid,
                                          std::string policy, bool copy, std::uint32_t flags = 0);
  /// Reserves an id of its own choice for a member of `root`'s tree.
  Result<std::shared_ptr<Parent>> reserve_member(const Parent& root, int pid);
  /// Makes a captured parent resumable, and lets it survive the worker. One that was reclaimed or
  /// abandoned meanwhile loses its target and its shadow here.
  void publish(const std::shared_ptr<Parent>& parent);
  /// Gives a reservation up, as if it had never been; a root's members too.
  void abandon(const std::shared_ptr<Parent>& parent);
  /// The capture has failed after the parent went on: whoever resumes is told `why`, until the id
  /// is prepared anew, reclaimed, or its lease has ended.
  void fail(const std::shared_ptr<Parent>& parent, Error why);
  /// Waits until the handler is captured. A wrong key and an unknown handler are told apart. The
  /// zero key is none: it opens what was prepared to be opened without one.
  Result<std::shared_ptr<Parent>> get(HandlerId handler, const AuthKey* key,
                                      Clock::time_point deadline);
  /// For a caller of this machine without a key: its own, any for root, and what needs none.
  Result<std::shared_ptr<Parent>> get_as(HandlerId handler, std::uint32_t uid,
                                         Clock::time_point deadline);
  /// Ends access there and then (no read is served once this returns) and ends the shadow; of a
  /// root those of all members.
  Result<void> reclaim(HandlerId handler, const AuthKey* key, std::uint32_t uid);
  /// Somebody still uses it.
  Result<void> renew(HandlerId handler, Generation generation);
  /// Reclaims what has been left alone. Returns what it reclaimed.
  std::vector<HandlerId> sweep(Clock::time_point now);
  std::vector<std::shared_ptr<Parent>> list() const;
  void reclaim_all();
  /// Takes over what an earlier worker left in the table. Images that lie in that one's room are
  /// put into the observer's; where it has none into `kept`, which must outlive `targets`.
  void adopt(ImageRoom* kept = nullptr);
  /// A shadow that has not reported by then never will.
  static constexpr std::chrono::seconds capture_deadline{10};
  [[nodiscard]] Clock::duration lease() const noexcept { return lease_; }

 private:
  using Entry = std::map<std::uint64_t, std::shared_ptr<Parent>>::iterator;
  /// Targets that have ended: the observer hears of them at its end, which comes after the lock's.
  /// To give memory back takes a device its time, and nobody else is to wait for that.
  class Ended {
   public:
    explicit Ended(const Parents& parents) noexcept : parents_(parents) {}
    Ended(const Ended&) = delete;
    Ended& operator=(const Ended&) = delete;
    ~Ended() {
      if (parents_.observer_ == nullptr) return;
      for (const TargetName& name : names_) parents_.observer_->on_close(name);
    }
    void add(const TargetName& name) { names_.push_back(name); }

   private:
    const Parents& parents_;
    std::vector<TargetName> names_;
  };
  Entry drop_one(Entry it, Ended& ended, const Error& why);
  void drop(Entry it, Ended& ended, const Error& why = Errc::revoked);
  Parent* root_of(const Parent& parent);
  void end_access(Parent& parent, Ended& ended);

  StateTable& table_;
  TargetTable& targets_;
  const Clock::duration lease_;
  TargetObserver* observer_ = nullptr;
  ShadowReaper* reaper_ = nullptr;
  bool for_device_ = false;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, std::shared_ptr<Parent>> parents_;
};

}  // namespace mitosis::agent

#include <mitosis/fork/user/agent/parents_end.hpp>
#include <mitosis/fork/user/agent/parents_impl.hpp>
