// SPDX-License-Identifier: MIT
// VerbsFabric: where a read goes, and what has ended. World: user. Included by fabric.hpp only.
#pragma once

#include <mitosis/net/verbs/fabric.hpp>

#include <memory>
#include <utility>

namespace mitosis {

// -- where a read goes ----------------------------------------------------------------------------

template <class Transport>
void VerbsFabric<Transport>::post(Span<const ReadRequest> batch) noexcept {
  const Time now = tcp::monotonic_now();
  for (const ReadRequest& request : batch) {
    if (!place(request, now)) second_batch_.push_back(request);
  }
  for (const std::uint32_t endpoint : posted_) lanes_[endpoint]->flush(now);
  posted_.clear();
  counts_.second += second_batch_.size();
  if (!second_batch_.empty()) second_->post(second_batch_);
  second_batch_.clear();
}

/// Gives a read to its lane; false where it has to go the second way.
template <class Transport>
bool VerbsFabric<Transport>::place(const ReadRequest& request, Time now) {
  if (request.into.local_key == 0 || request.bytes == 0 || request.bytes > tcp::max_read) {
    return false;
  }
  Target& target = target_of(request, now);
  verbs::PlacedRead read;
  read.request = request;
  std::uint64_t address = request.remote_address;
  for (std::uint64_t left = request.bytes; left > 0; ++read.count) {
    const auto found = target.pieces.find(address, left);
    if (!found || read.count == verbs::PlacedRead::max_parts) {
      if (!found && !target.pieces.complete() && !target.asking && now >= target.ask_at) {
        ask_for_pieces(request.peer, target);
      }
      return false;
    }
    read.parts[read.count] = *found;
    address += found->bytes;
    left -= found->bytes;
  }
  verbs::ReadLane* const lane = lane_for({request.peer, request.lane});
  if (lane == nullptr || !lane->usable(now)) return false;
  lane->enqueue(read);
  ++counts_.rdma;
  return true;
}

template <class Transport>
typename VerbsFabric<Transport>::Target& VerbsFabric<Transport>::target_of(
    const ReadRequest& request, Time now) {
  const TargetKey key{request.peer, request.target.number};
  const auto known = targets_.find(key);
  if (known != targets_.end() && known->second.name == request.target) return known->second;
  if (targets_.size() >= max_targets) {
    std::erase_if(targets_, [](const auto& each) { return !each.second.asking; });
  }
  Target& target = targets_[key];
  target = {};
  target.name = request.target;
  target.ask_at = now;
  return target;
}

template <class Transport>
void VerbsFabric<Transport>::ask_for_pieces(MachineId peer, Target& target) {
  target.asking = true;
  const auto errand = [this, peer, name = target.name, control = context_.control,
                       ms = context_.options.connect_ms]() -> verbs::Errands::Answer {
    auto told = std::make_shared<Result<rpc::PiecesReply>>(
        control->pieces(peer, name, tcp::deadline_in(ms)));
    return [this, peer, name, told] {
      const auto known = targets_.find({peer, name.number});
      if (known == targets_.end() || !(known->second.name == name)) return;
      Target& asked = known->second;
      asked.asking = false;
      // Who has no verbs, or is not there, is not asked for each read.
      const std::uint64_t pause_ms = *told ? context_.options.ask_again_ms : 1000;
      asked.ask_at = tcp::monotonic_now() + pause_ms * tcp::nanoseconds_per_ms;
      if (*told) {
        asked.pieces = verbs::PieceMap(std::move(*told).value());
      } else {
        context_.last_failure = told->error();
      }
    };
  };
  if (!errands_->run(errand)) target.asking = false;
}

/// The lane of a destination, to be flushed; null where the pool has no memory for it.
template <class Transport>
verbs::ReadLane* VerbsFabric<Transport>::lane_for(Destination destination) {
  const Grant grant = pool_.admit(destination, false);
  if (grant.kind != Grant::go && grant.kind != Grant::bind) return nullptr;
  if (lanes_.size() <= grant.endpoint) lanes_.resize(grant.endpoint + 1);
  auto& lane = lanes_[grant.endpoint];
  if (lane == nullptr) lane = std::make_unique<verbs::ReadLane>(context_, grant.endpoint);
  if (grant.kind == Grant::bind) lane->bind(destination);
  const auto note = [&](std::vector<std::uint32_t>& list) {
    for (const std::uint32_t each : list) {
      if (each == grant.endpoint) return;
    }
    list.push_back(grant.endpoint);
  };
  note(hot_);
  note(posted_);
  return lane.get();
}

// -- what has ended -------------------------------------------------------------------------------

template <class Transport>
std::size_t VerbsFabric<Transport>::poll(Span<ReadCompletion> done, Time now) noexcept {
  errands_->finish();
  if (armed_ && channel_.drain() > 0) {
    // Of which lane is not told, and it may have nothing to do by now.
    for (const auto& lane : lanes_) {
      if (lane != nullptr) lane->disarm();
    }
    armed_ = false;
  }
  bool any = false;
  for (const std::uint32_t endpoint : hot_) any = lanes_[endpoint]->poll(now) || any;
  for (const std::uint32_t endpoint : hot_) {
    if (now >= lanes_[endpoint]->soonest()) lanes_[endpoint]->expire(now);
  }
  // Nothing came: the caller may sleep. What came between the look and the arming is taken now.
  if (!any && context_.options.events) {
    for (const std::uint32_t endpoint : hot_) {
      if (lanes_[endpoint]->armed()) continue;
      lanes_[endpoint]->arm(now);
      armed_ = true;
      lanes_[endpoint]->poll(now);
    }
  }
  settle();
  std::size_t written = 0;
  while (written < done.size() && !context_.done.empty()) {
    done[written++] = context_.done[0];
    context_.done.pop_front();
  }
  const bool look = second_->busy() || hot_.empty() || ++polls_ % polls_between_looks == 0;
  if (look && written < done.size()) written += second_->poll(done.sub(written), now);
  return written;
}

/// Sends on what broken connections have left, and forgets who has nothing to do.
template <class Transport>
void VerbsFabric<Transport>::settle() {
  if (!context_.rerouted.empty()) {
    counts_.moved += context_.rerouted.size();
    second_->post(context_.rerouted);
    context_.rerouted.clear();
  }
  std::erase_if(hot_, [this](std::uint32_t endpoint) { return !lanes_[endpoint]->busy(); });
}

template <class Transport>
void VerbsFabric<Transport>::forget(MachineId peer) noexcept {
  for (const Lane lane : {Lane::demand, Lane::bulk}) {
    const std::uint32_t endpoint = pool_.bound({peer, lane});
    if (endpoint == no_endpoint) continue;
    lanes_[endpoint]->fail(Errc::connection_lost);
    pool_.release(endpoint);
  }
  std::erase_if(targets_, [peer](const auto& each) { return each.first.first == peer; });
  settle();
  second_->forget(peer);
}

template <class Transport>
Time VerbsFabric<Transport>::next_deadline() const noexcept {
  if (!context_.done.empty() || errands_->ready()) return Time{0};
  Time soonest = second_->next_deadline();
  for (const std::uint32_t endpoint : hot_) {
    const Time of_lane = lanes_[endpoint]->soonest();
    if (of_lane < soonest) soonest = of_lane;
  }
  return soonest;
}

static_assert(Fabric<VerbsFabric<RC>>);

}  // namespace mitosis
