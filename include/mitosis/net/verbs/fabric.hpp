// SPDX-License-Identifier: MIT
// VerbsFabric<RC>: the Fabric of machines with an RDMA device. World: user.
// Reads what is registered at its owner one-sidedly, over one connection a peer and lane; all else
// goes the second way, over TCP: pages that are not registered (yet), reads while a connection is
// being made, those that a broken one has left, and those whose key the owner's device refuses,
// which so learn whether the parent is gone.
#pragma once

#include <sys/epoll.h>
#include <sys/random.h>

#include <mitosis/net/tcp/fabric.hpp>
#include <mitosis/net/verbs/piece_map.hpp>
#include <mitosis/net/verbs/read_lane.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis {

/// Models Fabric, as TcpFabric does: made, used and destroyed by one thread; sleep on `wait_fd()`
/// until `next_deadline()` at the latest, then `poll`. `local_key` of a request must be of the
/// device's registration; 0 (none) goes the second way. A read that is overdue on the device takes
/// its connection along.
template <class Transport>
class VerbsFabric {
  static_assert(std::same_as<Transport, RC>,
                "use Transport<RC> on verbs: DCT needs an mlx5 device");

 public:
  /// How reads went, for tests and reports.
  struct Counts {
    std::uint64_t rdma = 0;    ///< reads that were given to the device
    std::uint64_t second = 0;  ///< reads that went the second way at once
    std::uint64_t moved = 0;   ///< and those that did after a connection broke
  };
  /// Nic, control path and what `second` refers to must outlive it.
  [[nodiscard]] static Result<std::unique_ptr<VerbsFabric>> open(
      const verbs::Nic& nic, verbs::ControlPath& control,
      std::unique_ptr<TcpFabric<Transport>> second, verbs::FabricOptions options = {});
  VerbsFabric(const VerbsFabric&) = delete;
  VerbsFabric& operator=(const VerbsFabric&) = delete;

  // The Fabric concept.
  void post(Span<const ReadRequest> batch) noexcept;
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept;
  void forget(MachineId peer) noexcept;

  [[nodiscard]] bool busy() const noexcept {
    return !hot_.empty() || !context_.done.empty() || errands_->ready() || second_->busy();
  }
  [[nodiscard]] int wait_fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] Time next_deadline() const noexcept;
  /// Why a connection last failed; code ok where none did.
  [[nodiscard]] const Error& last_failure() const noexcept { return context_.last_failure; }
  [[nodiscard]] const Counts& counts() const noexcept { return counts_; }
  /// Connections that are up now.
  [[nodiscard]] std::size_t connections() const noexcept {
    std::size_t up = 0;
    for (const auto& lane : lanes_) up += lane != nullptr && lane->connected() ? 1 : 0;
    return up;
  }

 private:
  using Pool = typename PoolOf<Transport>::type;
  using TargetKey = std::pair<MachineId, std::uint32_t>;
  struct Target {
    TargetName name;
    verbs::PieceMap pieces;
    Time ask_at{0};  ///< not again before
    bool asking = false;
  };
  static constexpr std::size_t max_targets = 1024;
  static constexpr unsigned polls_between_looks = 16;  ///< at the second way while it is idle

  VerbsFabric(UniqueFd epoll, verbs::EventChannel channel, const verbs::Nic& nic,
              verbs::ControlPath& control, std::unique_ptr<TcpFabric<Transport>> second,
              verbs::FabricOptions options);

  bool place(const ReadRequest& request, Time now);
  Target& target_of(const ReadRequest& request, Time now);
  void ask_for_pieces(MachineId peer, Target& target);
  verbs::ReadLane* lane_for(Destination destination);
  void settle();

  UniqueFd epoll_;
  verbs::EventChannel channel_;
  verbs::FabricContext context_;
  Pool pool_;
  std::unique_ptr<TcpFabric<Transport>> second_;
  std::map<TargetKey, Target> targets_;
  std::vector<std::unique_ptr<verbs::ReadLane>> lanes_;  ///< by endpoint
  std::vector<std::uint32_t> hot_;                       ///< endpoints with reads
  std::vector<std::uint32_t> posted_;                    ///< endpoints to flush
  std::vector<ReadRequest> second_batch_;
  Counts counts_;
  unsigned polls_ = 0;
  bool armed_ = false;                       ///< some lane may be
  std::unique_ptr<verbs::Errands> errands_;  ///< last: it ends before what its errands use
};

template <class Transport>
Result<std::unique_ptr<VerbsFabric<Transport>>> VerbsFabric<Transport>::open(
    const verbs::Nic& nic, verbs::ControlPath& control,
    std::unique_ptr<TcpFabric<Transport>> second, verbs::FabricOptions options) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error(Errc::system_call_failed, "epoll_create1", errno).in("open fabric");
  auto channel = verbs::EventChannel::make(nic.context());
  if (!channel) return channel.error().in("open fabric");
  std::unique_ptr<VerbsFabric> made(new VerbsFabric(std::move(epoll), std::move(channel).value(),
                                                    nic, control, std::move(second),
                                                    std::move(options)));
  for (const int fd : {made->channel_.fd(), made->second_->wait_fd(), made->errands_->wait_fd()}) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    if (::epoll_ctl(made->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return Error(Errc::system_call_failed, "epoll_ctl", errno).in("open fabric");
    }
  }
  if (::getrandom(&made->context_.client, sizeof made->context_.client, 0) < 0) {
    return Error(Errc::system_call_failed, "getrandom", errno).in("open fabric");
  }
  return made;
}

template <class Transport>
VerbsFabric<Transport>::VerbsFabric(UniqueFd epoll, verbs::EventChannel channel,
                                    const verbs::Nic& nic, verbs::ControlPath& control,
                                    std::unique_ptr<TcpFabric<Transport>> second,
                                    verbs::FabricOptions options)
    : epoll_(std::move(epoll)),
      channel_(std::move(channel)),
      second_(std::move(second)),
      errands_(std::make_unique<verbs::Errands>()) {
  context_.nic = &nic;
  context_.control = &control;
  context_.options = std::move(options);
  context_.channel = &channel_;
  context_.errands = errands_.get();
  context_.on_refused_key = [this](MachineId peer, const TargetName& name) {
    targets_.erase({peer, name.number});
  };
}

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
