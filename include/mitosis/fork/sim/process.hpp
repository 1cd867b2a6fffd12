// SPDX-License-Identifier: MIT
// Process: an ordinary process, or a resumed one whose faults a driver serves. World: sim.
#pragma once

#include <mitosis/fork/sim/address_space.hpp>
#include <mitosis/fork/sim/any_child.hpp>
#include <mitosis/net/sim/event_queue.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// Its threads are whoever calls `read` and `write`: each call is one access, and sleeps in its
/// fault as long as it takes. Changes of the mapping happen at once; the pager reads of them a
/// little later, and till then installs nothing, as with userfaultfd.
class Process : public std::enable_shared_from_this<Process> {
 public:
  using Done = std::function<void()>;
  using DoneRead = std::function<void(Access, std::uint64_t stamp)>;
  using DoneWrite = std::function<void(Access)>;
  static void nothing() {}

  Process(EventQueue& events, Random& random) : events_(events), random_(random) {
    memory_.on_wake_ = [this](PageRange range) { wake(range); };
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // -- what a program does ------------------------------------------------------------------------

  void read(PageNumber page, DoneRead done) {
    touch(page, [this, page, done = std::move(done)](Access how) {
      done(how, how == Access::ok ? stamp_of(memory_.content(page).get()) : 0);
    });
  }
  void write(
      PageNumber page, std::uint64_t stamp, DoneWrite done = [](Access) {}) {
    touch(page, [this, page, stamp, done = std::move(done)](Access how) {
      if (how == Access::ok) memory_.write(page, stamp);
      done(how);
    });
  }
  void map(PageRange range) { memory_.map(range); }
  void protect(PageRange range) { memory_.split(range); }
  /// MADV_DONTNEED: the pager hears of it before the pages go.
  void remove(PageRange range, Done done = nothing) {
    change(
        [this, range] {
          if (child_) child_->on_removed(range);
          memory_.remove(range);
        },
        std::move(done));
  }
  void unmap(PageRange range, Done done = nothing) {
    memory_.unmap(range);
    change(
        [this, range] {
          if (child_) child_->on_unmapped(range);
        },
        std::move(done));
  }
  void move(PageRange from, PageNumber to, Done done = nothing) {
    memory_.move(from, to);
    change(
        [this, from, to] {
          if (child_) child_->on_moved(from, to);
        },
        std::move(done));
  }

  // -- what its machine does
  // ------------------------------------------------------------------------

  /// `read_event` runs when the pager has read of the change; then the process goes on.
  /// Returns when that will be.
  Time change(Done read_event, Done done) {
    memory_.begin_change();
    last_event_ = (last_event_ < events_.now() ? events_.now() : last_event_) + delay();
    later(last_event_, [this, read_event = std::move(read_event), done = std::move(done)] {
      read_event();
      memory_.end_change();
      arm();
      done();
    });
    return last_event_;
  }
  /// From now on the driver serves its faults.
  void serve(std::unique_ptr<AnyChild> child, std::uint32_t slot) {
    child_ = std::move(child);
    slot_ = slot;
    wake({PageNumber{0}, ~std::uint64_t{0}});
  }
  /// A process that has been forked from a served one: its faults wait for `serve`.
  /// Its changes are read after the fork itself, at `forked`.
  void expect_driver(Time forked) noexcept {
    paged_ = true;
    last_event_ = forked;
  }
  void exit() {
    if (exited_) return;
    exited_ = true;
    memory_.die();
    sleepers_.clear();
    if (child_) child_->close();
  }
  /// Schedules on_time for when the driver wants it.
  void arm() {
    if (!child_ || exited_) return;
    const Time next = child_->next_deadline();
    if (next == Time::never || next == armed_) return;
    armed_ = next;
    later(next, [this, next] {
      if (armed_ != next) return;  // an earlier one has been armed since
      armed_ = Time::never;
      child_->on_time(events_.now());
      arm();
      if (on_progress) on_progress();
    });
  }

  [[nodiscard]] AddressSpace& memory() noexcept { return memory_; }
  [[nodiscard]] AnyChild* child() noexcept { return child_.get(); }
  [[nodiscard]] std::uint32_t slot() const noexcept { return slot_; }
  [[nodiscard]] bool exited() const noexcept { return exited_; }
  [[nodiscard]] std::size_t sleeping() const noexcept { return sleepers_.size(); }

  std::function<void()> on_progress;  ///< time has moved the driver along
  RunPolicy policy;
  std::shared_ptr<const Image> image;  ///< what it was resumed from; null for any other

 private:
  struct Sleeper {
    PageNumber page{};
    DoneWrite done;
  };

  void touch(PageNumber page, DoneWrite done) {
    if (exited_) return;
    if (!memory_.mapped(page)) return done(Access::segmentation_fault);
    if (memory_.has(page)) return done(Access::ok);
    if (memory_.poisoned(page)) return done(Access::bus_error);
    if (!paged_ && !child_) {
      memory_.write(page, 0);
      return done(Access::ok);
    }
    sleepers_.push_back({page, std::move(done)});
    later(events_.now() + delay(), [this, page] {
      if (!child_) return;  // `serve` wakes it
      child_->on_fault(page);
      arm();
    });
  }
  void wake(PageRange range) {
    std::vector<Sleeper> kept, woken;
    for (Sleeper& s : sleepers_) {
      (range.contains(s.page) ? woken : kept).push_back(std::move(s));
    }
    sleepers_ = std::move(kept);
    for (Sleeper& s : woken) {
      later(events_.now() + 500, [this, s] { touch(s.page, s.done); });
    }
  }
  std::uint64_t delay() { return 1'000 + random_.below(2'000); }
  /// An action that must not outlive the process.
  template <class Action>
  void later(Time when, Action action) {
    events_.at(when, slot_, [self = weak_from_this(), action = std::move(action)]() mutable {
      const auto alive = self.lock();
      if (alive != nullptr && !alive->exited_) action();
    });
  }

  EventQueue& events_;
  Random& random_;
  AddressSpace memory_;
  std::unique_ptr<AnyChild> child_;
  std::vector<Sleeper> sleepers_;
  Time last_event_{};
  Time armed_ = Time::never;
  std::uint32_t slot_ = 0;
  bool paged_ = false;
  bool exited_ = false;
};

}  // namespace mitosis::sim
