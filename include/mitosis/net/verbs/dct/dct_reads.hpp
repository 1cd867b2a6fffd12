// SPDX-License-Identifier: MIT
// DctReads: the reads of a verbs fabric over dynamic connections. World: user; one thread.
// A read of some parts becomes a read of each, through the door that its owner has told; it has
// ended once all of them have. What fails goes the second way, and its target is asked for anew:
// where its doors are closed that way tells that it is revoked.
#pragma once

#include <mitosis/net/backoff.hpp>
#include <mitosis/net/verbs/dct/reads.hpp>
#include <mitosis/net/verbs/reads.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::verbs {

template <DcDevice D>
class DctReads {
 public:
  using Device = D;
  /// Reads that it has at a time; further ones go the second way.
  static constexpr std::uint32_t max_reads = 512;

  [[nodiscard]] static Result<std::unique_ptr<DctReads>> make(Device& device,
                                                              FabricContext& context) {
    auto reads = Dynamic::make(device);
    if (!reads.ok()) return reads.error();
    return std::unique_ptr<DctReads>(new DctReads(device, context, std::move(reads).value()));
  }
  DctReads(const DctReads&) = delete;
  DctReads& operator=(const DctReads&) = delete;

  // The Reads concept.
  [[nodiscard]] int fd() const noexcept { return device_->fd(); }
  [[nodiscard]] bool place(const PlacedRead& read, const PieceMap& pieces, Time now) {
    if (free_.empty() || reads_->room() < batch_.size() + read.count) return false;
    const auto trouble = troubled_.find(read.request.peer);
    if (trouble != troubled_.end() && now < trouble->second.again_at()) return false;
    for (std::uint32_t i = 0; i < read.count; ++i) {
      if (pieces.door(read.parts[i]) == nullptr) return false;
    }
    const std::uint32_t number = free_.back();
    free_.pop_back();
    slots_[number] = {read.request, read.count, Errc::ok, false};
    std::uint64_t into = 0;
    for (std::uint32_t i = 0; i < read.count; ++i) {
      const rpc::Door& door = *pieces.door(read.parts[i]);
      DcRead part;
      part.request = read.request;
      part.request.target = {door.number, door.key};
      part.request.bytes = static_cast<std::uint32_t>(read.parts[i].bytes);
      part.request.into.data += into;
      part.request.cookie = number;
      part.request.deadline = half_time(read.request.deadline, now);
      part.port = {door.gid, door.lid};
      part.from = read.parts[i];
      into += read.parts[i].bytes;
      batch_.push_back(part);
    }
    return true;
  }
  void flush(Time) {
    reads_->post(batch_);
    batch_.clear();
  }
  void poll(Time now) {
    if (collect(now)) {
      armed_ = false;
    } else if (busy() && !armed_ && context_->options.events) {
      // The caller may sleep. What came between the look and the arming is taken now.
      armed_ = device_->arm().ok();
      if (collect(now)) armed_ = false;
    }
    if (!busy()) device_->drain();
  }
  void forget(MachineId peer) {
    for (Slot& slot : slots_) slot.forgotten |= slot.parts > 0 && slot.request.peer == peer;
    reads_->forget(peer);
    collect(now_);
    troubled_.erase(peer);
  }
  [[nodiscard]] Time soonest() const noexcept { return reads_->soonest(); }
  [[nodiscard]] bool busy() const noexcept { return reads_->in_flight() > 0; }

 private:
  using Dynamic = DcReads<Device, 8, 2 * max_reads>;
  struct Slot {
    ReadRequest request;
    std::uint32_t parts = 0;  ///< that have not ended; 0: unused
    Errc status = Errc::ok;   ///< the first that was none
    bool forgotten = false;
  };
  static constexpr std::size_t max_troubled = 1024;
  static constexpr std::uint64_t first_pause = 10'000'000;       ///< ns
  static constexpr std::uint64_t longest_pause = 2'000'000'000;  ///< ns

  DctReads(Device& device, FabricContext& context, std::unique_ptr<Dynamic> reads)
      : device_(&device), context_(&context), reads_(std::move(reads)), slots_(max_reads) {
    for (std::uint32_t i = 0; i < max_reads; ++i) free_.push_back(i);
  }

  /// Whether anything has ended.
  bool collect(Time now) {
    now_ = now;
    ReadCompletion ends[32];
    std::size_t count = 0;
    for (std::size_t got = 1; got > 0; count += got) {
      got = reads_->poll(Span<ReadCompletion>(ends), now);
      for (std::size_t i = 0; i < got; ++i) {
        const auto number = static_cast<std::uint32_t>(ends[i].cookie);
        Slot& slot = slots_[number];
        if (slot.status == Errc::ok) slot.status = ends[i].status;
        if (--slot.parts > 0) continue;
        finish(slot, now);
        free_.push_back(number);
      }
    }
    return count > 0;
  }
  void finish(const Slot& slot, Time now) {
    const MachineId peer = slot.request.peer;
    if (slot.status == Errc::ok) {
      troubled_.erase(peer);
      context_->done.push_back({slot.request.cookie, Errc::ok});
      return;
    }
    if (slot.forgotten) {
      context_->done.push_back({slot.request.cookie, Errc::connection_lost});
      return;
    }
    context_->last_failure = Error(slot.status, "a dynamic connection");
    context_->last_failure.at_machine(peer).in("read by RDMA");
    context_->on_refused_key(peer, slot.request.target);
    // What is full is no loss of the way.
    if (slot.status != Errc::limit_exceeded && slot.status != Errc::page_unavailable)
      note(peer, now);
    if (slot.request.deadline <= now) {
      context_->done.push_back({slot.request.cookie, Errc::timed_out});
    } else {
      context_->rerouted.push_back(slot.request);
    }
  }
  /// The way to a peer has failed: it is not tried again for a while.
  void note(MachineId peer, Time now) {
    if (troubled_.size() >= max_troubled) troubled_.clear();
    const auto [at, first] = troubled_.try_emplace(peer, first_pause, longest_pause);
    if (first && context_->options.on_loss) context_->options.on_loss(context_->last_failure);
    if (first || now >= at->second.again_at()) at->second.failed(now);  // once for what was out
  }

  Device* device_;
  FabricContext* context_;
  std::unique_ptr<Dynamic> reads_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<DcRead> batch_;
  std::map<MachineId, Backoff> troubled_;  ///< peers whose last read has failed
  Time now_{};
  bool armed_ = false;
};

}  // namespace mitosis::verbs
