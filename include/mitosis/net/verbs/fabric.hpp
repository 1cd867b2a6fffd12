// SPDX-License-Identifier: MIT
// VerbsFabric<Transport>: the Fabric of machines with an RDMA device. World: user.
// Reads what is registered at its owner one-sidedly; all else goes the second way, over TCP: pages
// that are not registered (yet), reads while a connection is being made, those that a broken one
// has left, and those whose key the owner's device refuses, which so learn whether the parent is
// gone.
#pragma once

#include <sys/epoll.h>
#include <sys/random.h>

#include <mitosis/net/tcp/fabric.hpp>
#include <mitosis/net/verbs/known_targets.hpp>
#include <mitosis/net/verbs/rc_reads.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis {

/// Models Fabric, as TcpFabric does: made, used and destroyed by one thread; sleep on `wait_fd()`
/// until `next_deadline()` at the latest, then `poll`. `local_key` of a request must be of the
/// device's registration; 0 (none) goes the second way. A read that the device has had for half of
/// its time goes on the second way; with RC its connection ends. DCT: include
/// net/verbs/dct/mlx5_reads.hpp.
template <class Transport, class Second = TcpFabric<Transport>,
          verbs::Reads ReadsType = typename verbs::ReadsOf<Transport>::type>
class VerbsFabric {
 public:
  /// How reads went, for tests and reports.
  struct Counts {
    std::uint64_t rdma = 0;    ///< reads that were given to the device
    std::uint64_t second = 0;  ///< reads that went the second way at once
    std::uint64_t moved = 0;   ///< and those that did after a connection broke
  };
  /// Device, control path and what `second` refers to must outlive it.
  [[nodiscard]] static Result<std::unique_ptr<VerbsFabric>> open(typename ReadsType::Device& device,
                                                                 verbs::ControlPath& control,
                                                                 std::unique_ptr<Second> second,
                                                                 verbs::FabricOptions options = {});
  VerbsFabric(const VerbsFabric&) = delete;
  VerbsFabric& operator=(const VerbsFabric&) = delete;

  // The Fabric concept.
  void post(Span<const ReadRequest> batch) noexcept;
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept;
  void forget(MachineId peer) noexcept {
    reads_->forget(peer);
    targets_.forget(peer);
    settle();
    second_->forget(peer);
  }

  [[nodiscard]] bool busy() const noexcept {
    return reads_->busy() || !context_.done.empty() || errands_->ready() || second_->busy();
  }
  [[nodiscard]] int wait_fd() const noexcept { return epoll_.get(); }
  [[nodiscard]] Time next_deadline() const noexcept {
    if (!context_.done.empty() || errands_->ready()) return Time{0};
    return std::min(reads_->soonest(), second_->next_deadline());
  }
  /// Why a connection last failed; code ok where none did.
  [[nodiscard]] const Error& last_failure() const noexcept { return context_.last_failure; }
  [[nodiscard]] const Counts& counts() const noexcept { return counts_; }
  [[nodiscard]] const ReadsType& reads() const noexcept { return *reads_; }

 private:
  static constexpr unsigned polls_between_looks = 16;  ///< at the second way while it is idle

  VerbsFabric(UniqueFd epoll, verbs::ControlPath& control, std::unique_ptr<Second> second,
              verbs::FabricOptions options);

  bool place(const ReadRequest& request, Time now);
  void settle();

  UniqueFd epoll_;
  verbs::FabricContext context_;
  std::unique_ptr<Second> second_;
  verbs::KnownTargets targets_{context_};
  std::unique_ptr<ReadsType> reads_;
  std::vector<ReadRequest> second_batch_;
  Counts counts_;
  unsigned polls_ = 0;
  std::unique_ptr<verbs::Errands> errands_;  ///< last: it ends before what its errands use
};

// -- opening --------------------------------------------------------------------------------------

template <class Transport, class Second, verbs::Reads ReadsType>
VerbsFabric<Transport, Second, ReadsType>::VerbsFabric(UniqueFd epoll, verbs::ControlPath& control,
                                                       std::unique_ptr<Second> second,
                                                       verbs::FabricOptions options)
    : epoll_(std::move(epoll)),
      second_(std::move(second)),
      errands_(std::make_unique<verbs::Errands>()) {
  context_.control = &control;
  context_.options = std::move(options);
  context_.errands = errands_.get();
  context_.on_refused_key = [this](MachineId peer, const TargetName& name) {
    targets_.forget(peer, name);
  };
}

template <class Transport, class Second, verbs::Reads ReadsType>
auto VerbsFabric<Transport, Second, ReadsType>::open(typename ReadsType::Device& device,
                                                     verbs::ControlPath& control,
                                                     std::unique_ptr<Second> second,
                                                     verbs::FabricOptions options)
    -> Result<std::unique_ptr<VerbsFabric>> {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error(Errc::system_call_failed, "epoll_create1", errno).in("open fabric");
  std::unique_ptr<VerbsFabric> made(
      new VerbsFabric(std::move(epoll), control, std::move(second), std::move(options)));
  if (::getrandom(&made->context_.client, sizeof made->context_.client, 0) < 0) {
    return Error(Errc::system_call_failed, "getrandom", errno).in("open fabric");
  }
  auto reads = ReadsType::make(device, made->context_);
  if (!reads) return reads.error().in("open fabric");
  made->reads_ = std::move(reads).value();
  for (const int fd : {made->reads_->fd(), made->second_->wait_fd(), made->errands_->wait_fd()}) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    if (fd >= 0 && ::epoll_ctl(made->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return Error(Errc::system_call_failed, "epoll_ctl", errno).in("open fabric");
    }
  }
  return made;
}

// -- where a read goes ----------------------------------------------------------------------------

template <class Transport, class Second, verbs::Reads ReadsType>
void VerbsFabric<Transport, Second, ReadsType>::post(Span<const ReadRequest> batch) noexcept {
  const Time now = tcp::monotonic_now();
  for (const ReadRequest& request : batch) {
    if (!place(request, now)) second_batch_.push_back(request);
  }
  reads_->flush(now);
  counts_.second += second_batch_.size();
  if (!second_batch_.empty()) second_->post(second_batch_);
  second_batch_.clear();
}

/// Gives a read to the device; false where it has to go the second way.
template <class Transport, class Second, verbs::Reads ReadsType>
bool VerbsFabric<Transport, Second, ReadsType>::place(const ReadRequest& request, Time now) {
  if (request.into.local_key == 0 || request.bytes == 0 || request.bytes > tcp::max_read) {
    return false;
  }
  const verbs::PieceMap& pieces = targets_.pieces(request.peer, request.target, now);
  verbs::PlacedRead read;
  read.request = request;
  std::uint64_t address = request.remote_address;
  for (std::uint64_t left = request.bytes; left > 0; ++read.count) {
    const auto found = pieces.find(address, left);
    if (!found) targets_.want_more(request.peer, request.target, now);
    if (!found || read.count == verbs::PlacedRead::max_parts) return false;
    read.parts[read.count] = *found;
    address += found->bytes;
    left -= found->bytes;
  }
  if (!reads_->place(read, pieces, now)) return false;
  ++counts_.rdma;
  return true;
}

// -- what has ended -------------------------------------------------------------------------------

template <class Transport, class Second, verbs::Reads ReadsType>
std::size_t VerbsFabric<Transport, Second, ReadsType>::poll(Span<ReadCompletion> done,
                                                            Time now) noexcept {
  errands_->finish();
  reads_->poll(now);
  settle();
  std::size_t written = 0;
  while (written < done.size() && !context_.done.empty()) {
    done[written++] = context_.done[0];
    context_.done.pop_front();
  }
  const bool look = second_->busy() || !reads_->busy() || ++polls_ % polls_between_looks == 0;
  if (look && written < done.size()) written += second_->poll(done.sub(written), now);
  return written;
}

/// Sends on what broken connections have left.
template <class Transport, class Second, verbs::Reads ReadsType>
void VerbsFabric<Transport, Second, ReadsType>::settle() {
  if (context_.rerouted.empty()) return;
  counts_.moved += context_.rerouted.size();
  second_->post(context_.rerouted);
  context_.rerouted.clear();
}

static_assert(Fabric<VerbsFabric<RC>>);

}  // namespace mitosis
