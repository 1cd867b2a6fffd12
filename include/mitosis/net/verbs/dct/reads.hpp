// SPDX-License-Identifier: MIT
// DcReads: reads from any number of peers through a fixed number of initiators. World: user; one
// thread (a pager's). Its memory does not grow with peers, and is all taken at the start.
#pragma once

#include <mitosis/net/dct.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/fair_queue.hpp>
#include <mitosis/net/verbs/dct/handles.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// A ReadRequest, and what its peer has told of where that is.
struct DcRead {
  ReadRequest request;  ///< `target` is the target's number and key, `bytes` all of `from`
  DcPort port;
  RemoteMemory from;
};

/// `post` never blocks; every read completes exactly once, no later than soon after its deadline.
/// A completion other than ok means that no byte lands any more.
template <DcDevice Device, std::uint32_t Initiators = 8, std::uint32_t Capacity = 1024>
class DcReads {
 public:
  [[nodiscard]] static Result<std::unique_ptr<DcReads>> make(Device& device) {
    std::unique_ptr<DcReads> reads(new DcReads(device));
    for (std::uint32_t i = 0; i < Initiators; ++i) {
      Result<typename Device::Initiator> made = device.make_initiator();
      if (!made.ok()) return made.error();
      reads->initiators_[i].own.emplace(std::move(made).value());
    }
    return reads;
  }
  DcReads(const DcReads&) = delete;
  DcReads& operator=(const DcReads&) = delete;

  void post(Span<const DcRead> batch) noexcept {
    for (const DcRead& read : batch) {
      const Destination to{read.request.peer, read.request.lane};
      if (free_.empty() || !waiting_.push(to, free_.back())) {
        done_.push_back({read.request.cookie, Errc::limit_exceeded});
        continue;
      }
      Slot& slot = slots_[free_.back()];
      free_.pop_back();
      slot.read = read;
      slot.state = Slot::waiting;
      if (read.request.deadline < next_deadline_) next_deadline_ = read.request.deadline;
    }
    admit();
  }
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept {
    now_ = now;
    collect();
    if (now >= next_deadline_) expire(now);
    admit();
    std::size_t n = 0;
    while (n < done.size() && taken_ < done_.size()) done[n++] = done_[taken_++];
    if (taken_ == done_.size()) {
      done_.clear();
      taken_ = 0;
    }
    return n;
  }
  /// Fails what is out to a peer with connection_lost. Its way is made anew when it is next used.
  void forget(MachineId peer) noexcept {
    for (std::uint32_t i = 0; i < Initiators; ++i) {
      if (initiators_[i].in_flight > 0 && initiators_[i].to.peer == peer) {
        break_up(i, Errc::connection_lost, no_slot);
      }
    }
    waiting_.remove_if([&](Destination to, std::uint32_t slot) {
      if (to.peer != peer) return false;
      finish(slot, Errc::connection_lost);
      return true;
    });
    admit();
  }
  [[nodiscard]] std::size_t in_flight() const noexcept { return Capacity - free_.size(); }
  /// So many more it takes.
  [[nodiscard]] std::size_t room() const noexcept { return free_.size(); }
  /// `poll` has something to do by then, whatever the device says.
  [[nodiscard]] Time soonest() const noexcept { return done_.empty() ? next_deadline_ : Time{0}; }

 private:
  static constexpr std::uint32_t no_slot = Capacity;
  /// Twice as many ways as can be in use: the last peers' are still there when they come again.
  using Handles = DcHandles<Device, 2 * std::size_t{Initiators}>;

  struct Slot {
    enum State : std::uint8_t { unused, waiting, out } state = unused;
    std::uint32_t life = 0;  ///< tells a late end of an earlier use
    std::uint32_t initiator = 0;
    DcRead read;
  };
  struct Initiator {
    std::optional<typename Device::Initiator> own;
    Destination to;
    std::uint32_t in_flight = 0;
    std::size_t handle = Handles::none;
    std::vector<std::uint32_t> batch;  ///< slots of this doorbell
  };

  explicit DcReads(Device& device)
      : device_(&device), handles_(device), slots_(Capacity), initiators_(Initiators) {
    for (std::uint32_t i = 0; i < Capacity; ++i) free_.push_back(i);
    done_.reserve(Capacity);
    work_.reserve(DCT::send_queue);
    for (Initiator& initiator : initiators_) initiator.batch.reserve(DCT::send_queue);
  }

  /// Gives waiting reads to initiators, and rings each once.
  void admit() noexcept {
    waiting_.offer([this](Destination to, std::uint32_t slot) {
      const Grant grant = pool_.admit(to, waiting_.others(to));
      if (grant.kind == Grant::wait) return false;
      if (grant.kind == Grant::refuse) {
        finish(slot, Errc::limit_exceeded);
        return true;
      }
      Initiator& initiator = initiators_[grant.endpoint];
      initiator.to = to;
      slots_[slot].initiator = grant.endpoint;
      slots_[slot].state = Slot::out;
      initiator.batch.push_back(slot);
      ++initiator.in_flight;
      return true;
    });
    for (std::uint32_t i = 0; i < Initiators; ++i) ring(i);
  }
  /// One doorbell for each target of the batch: the reads of one child have one.
  void ring(std::uint32_t index) noexcept {
    Initiator& initiator = initiators_[index];
    while (!initiator.batch.empty()) {
      const DcRead& first = slots_[initiator.batch.front()].read;
      const TargetName target = first.request.target;
      if (!initiator.own && !renew(initiator)) return break_up(index, Errc::out_of_memory, no_slot);
      if (!point(initiator, first.port)) return break_up(index, Errc::machine_unreachable, no_slot);
      work_.clear();
      std::erase_if(initiator.batch, [&](std::uint32_t slot) {
        const DcRead& read = slots_[slot].read;
        if (!(read.request.target == target && read.port == first.port)) return false;
        const std::uint64_t id = std::uint64_t{slots_[slot].life} << 32 | slot;
        work_.push_back({id, read.from, read.request.into});
        return true;
      });
      const Result<void> posted =
          device_->post(*initiator.own, handles_.at(initiator.handle), target.number, target.key,
                        Span<const DcWork>(work_.data(), work_.size()));
      if (!posted.ok()) return break_up(index, Errc::connection_lost, no_slot);
    }
  }
  /// Has the initiator hold the way to that port.
  bool point(Initiator& initiator, const DcPort& port) noexcept {
    const Result<std::size_t> held = handles_.hold(port);
    if (!held.ok()) return false;
    if (initiator.handle != Handles::none) handles_.let_go(initiator.handle);
    initiator.handle = *held;
    return true;
  }

  void collect() noexcept {
    DcEnd ends[32];
    for (std::size_t count = sizeof ends / sizeof *ends; count == sizeof ends / sizeof *ends;) {
      count = device_->poll(Span<DcEnd>(ends));
      for (std::size_t i = 0; i < count; ++i) {
        const auto slot = static_cast<std::uint32_t>(ends[i].id);
        if (slot >= Capacity || slots_[slot].state != Slot::out ||
            slots_[slot].life != ends[i].id >> 32) {
          continue;  // of before a reset
        }
        if (ends[i].status == Errc::ok) {
          land(slot, Errc::ok);
        } else {
          break_up(slots_[slot].initiator, ends[i].status, slot);
        }
      }
    }
  }
  /// After an error an initiator is of no use: what else it had out failed with it. `cause` (a
  /// slot, or none) has `why`, the others connection_lost: they did nothing wrong, and are tried
  /// again.
  void break_up(std::uint32_t index, Errc why, std::uint32_t cause) noexcept {
    Initiator& initiator = initiators_[index];
    // Where it cannot be mended the queue pair itself has to go, or what was out could still land.
    if (initiator.own && !device_->reset(*initiator.own).ok()) initiator.own.reset();
    initiator.batch.clear();
    for (std::uint32_t slot = 0; slot < Capacity; ++slot) {
      if (slots_[slot].state != Slot::out || slots_[slot].initiator != index) continue;
      const bool late = slots_[slot].read.request.deadline <= now_;
      finish(slot, cause == no_slot || slot == cause ? why
                   : late                            ? Errc::timed_out
                                                     : Errc::connection_lost);
    }
    initiator.in_flight = 0;
    pool_.release(index);
    if (initiator.handle != Handles::none) handles_.let_go(initiator.handle);
    initiator.handle = Handles::none;
  }
  bool renew(Initiator& initiator) noexcept {
    Result<typename Device::Initiator> made = device_->make_initiator();
    if (!made.ok()) return false;
    initiator.own.emplace(std::move(made).value());
    return true;
  }
  void expire(Time now) noexcept {
    next_deadline_ = Time::never;
    waiting_.remove_if([&](Destination, std::uint32_t slot) {
      const Time deadline = slots_[slot].read.request.deadline;
      if (deadline > now) {
        if (deadline < next_deadline_) next_deadline_ = deadline;
        return false;
      }
      finish(slot, Errc::timed_out);
      return true;
    });
    for (std::uint32_t slot = 0; slot < Capacity; ++slot) {
      if (slots_[slot].state != Slot::out) continue;
      const Time deadline = slots_[slot].read.request.deadline;
      if (deadline <= now) {
        break_up(slots_[slot].initiator, Errc::timed_out, slot);
      } else if (deadline < next_deadline_) {
        next_deadline_ = deadline;
      }
    }
  }
  void land(std::uint32_t slot, Errc status) noexcept {
    const std::uint32_t index = slots_[slot].initiator;
    --initiators_[index].in_flight;
    pool_.finish(index, 1);
    finish(slot, status);
  }
  void finish(std::uint32_t slot, Errc status) noexcept {
    done_.push_back({slots_[slot].read.request.cookie, status});
    slots_[slot].state = Slot::unused;
    ++slots_[slot].life;
    free_.push_back(slot);
  }

  Device* device_;
  DctPool<Initiators> pool_;
  Handles handles_;
  FairQueue<std::uint32_t, Capacity> waiting_;
  std::vector<Slot> slots_;
  std::vector<Initiator> initiators_;
  std::vector<std::uint32_t> free_;
  std::vector<ReadCompletion> done_;
  std::size_t taken_ = 0;
  std::vector<DcWork> work_;
  Time next_deadline_ = Time::never;
  Time now_{};  ///< of the last poll
};

}  // namespace mitosis::verbs
