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

}  // namespace mitosis

#include <mitosis/net/verbs/fabric_impl.hpp>
