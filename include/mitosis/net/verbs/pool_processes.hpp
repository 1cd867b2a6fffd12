// SPDX-License-Identifier: MIT
// PoolProcesses: the processes that are attached to a connection pool, and those that are about to
// be: their sockets, the memory they share, and how they are woken. World: user; the pool's thread.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/pool/comers.hpp>
#include <mitosis/net/pool/transfer.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/memory_region.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// What processes may take of a pool. A user other than root has a quarter of either.
struct PoolLimits {
  std::size_t processes = 256;
  std::uint64_t bytes = std::uint64_t{1} << 30;     ///< that they share with it, which are pinned
  std::function<std::uint64_t()> budget_left = {};  ///< of these; empty: all
};

/// Memory of a process stays mapped and registered until `release`, also when it has died.
class PoolProcesses {
 public:
  /// They attach at `listener` (pool::listen_at), which like `domain`, for their memory, must
  /// outlive this.
  PoolProcesses(const ProtectionDomain& domain, int listener, PoolLimits limits)
      : domain_(&domain), limits_(std::move(limits)), comers_(listener) {}

  /// All that a process shares, as it was registered. It must be attached.
  [[nodiscard]] const MemoryRegion& region(pool::ProcessId id) const { return *all_.at(id).region; }
  void release(pool::ProcessId id) { all_.erase(id); }
  void release_all() { all_.clear(); }
  /// That are registered; any thread.
  [[nodiscard]] std::uint64_t bytes_used() const noexcept { return bytes_used_.load(); }
  void wake(pool::ProcessId id) {
    const auto found = all_.find(id);
    if (found == all_.end()) return;
    static_cast<void>(!::write(found->second.wake.get(), "", 1));  // full: it is readable anyway
  }

  /// Appends the descriptors that have something to say of processes.
  void watch(std::vector<pollfd>& waiting) {
    first_ = waiting.size();
    watched_.clear();
    for (const auto& [id, process] : all_) {
      if (!process.socket) continue;
      watched_.push_back(id);
      waiting.push_back({process.socket.get(), POLLIN, 0});
      waiting.push_back({process.doorbell.get(), POLLIN, 0});
    }
    comers_.watch(waiting);
  }
  /// After poll(2) of these: calls `gone(id)` of processes that have ended, and `come(id, area,
  /// data)` of new ones.
  template <class Gone, class Come>
  void attend(const std::vector<pollfd>& waiting, Gone gone, Come come);

 private:
  struct Process {
    UniqueFd socket, doorbell, wake;  ///< our ends: no call on them waits
    std::uint8_t* base = nullptr;
    std::size_t bytes = 0;
    std::optional<MemoryRegion> region;
    uid_t user = 0;
    std::atomic<std::uint64_t>* all_bytes = nullptr;  ///< where it is counted
    Process() = default;
    Process(Process&&) = delete;
    ~Process() {
      region.reset();
      if (base == nullptr) return;
      ::munmap(base, bytes);
      all_bytes->fetch_sub(bytes);
    }
  };

  template <class Come>
  void attach(UniqueFd socket, Come& come);
  [[nodiscard]] bool has_room(uid_t user, std::uint64_t bytes) const;

  const ProtectionDomain* domain_;
  PoolLimits limits_;
  std::atomic<std::uint64_t> bytes_used_{0};
  std::map<pool::ProcessId, Process> all_;
  pool::Comers comers_;
  pool::ProcessId last_ = 0;
  // Of the last `watch`: where in it, and who.
  std::size_t first_ = 0;
  std::vector<pool::ProcessId> watched_;
};

template <class Gone, class Come>
void PoolProcesses::attend(const std::vector<pollfd>& waiting, Gone gone, Come come) {
  const pollfd* at = waiting.data() + first_;
  // A process says nothing on its socket: it is its end.
  for (const pool::ProcessId id : watched_) {
    Process& process = all_.at(id);
    if (at[1].revents != 0) {
      char rings[64];
      static_cast<void>(!::read(process.doorbell.get(), rings, sizeof rings));
    }
    if (at[0].revents != 0) {
      process.socket.reset();
      gone(id);
    }
    at += 2;
  }
  (void)comers_.attend(waiting, [&](UniqueFd socket) { attach(std::move(socket), come); });
}

inline bool PoolProcesses::has_room(uid_t user, std::uint64_t bytes) const {
  std::size_t processes = 1;
  std::uint64_t held = bytes;
  for (const auto& [id, process] : all_) {
    if (user != 0 && process.user != user) continue;
    ++processes;
    held += process.bytes;
  }
  const std::size_t part = user == 0 ? 1 : 4;
  return all_.size() < limits_.processes && processes <= limits_.processes / part &&
         bytes_used_.load() + bytes <= limits_.bytes && held <= limits_.bytes / part &&
         (!limits_.budget_left || bytes <= limits_.budget_left());
}

/// A process comes: its packet is there.
template <class Come>
void PoolProcesses::attach(UniqueFd socket, Come& come) {
  pool::AttachPacket packet;
  const Result<void> came = pool::receive_attach(socket.get(), packet, tcp::monotonic_now());
  const auto refuse = [&socket](Errc why) {
    pool::Attach said;
    said.status = why;
    static_cast<void>(pool::send_attach(socket.get(), said, {}));
  };
  if (!came.ok()) return refuse(came.code());
  const Result<std::size_t> bytes = pool::check_area(packet.fds[0].get());
  if (!bytes.ok()) return refuse(bytes.code());
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return refuse(Errc::system_call_failed);
  }
  if (!has_room(peer.uid, *bytes)) return refuse(Errc::limit_exceeded);
  // Pipes: of an eventfd, which both would share, the process could have our calls wait for ever
  // by taking O_NONBLOCK away.
  int doorbell[2] = {-1, -1}, wake[2] = {-1, -1};
  const bool piped =
      ::pipe2(doorbell, O_CLOEXEC | O_NONBLOCK) == 0 && ::pipe2(wake, O_CLOEXEC | O_NONBLOCK) == 0;
  UniqueFd rings(doorbell[0]), its_doorbell(doorbell[1]), its_wake(wake[0]), wakes(wake[1]);
  void* const base =
      ::mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0].get(), 0);
  if (!piped || base == MAP_FAILED) {
    if (base != MAP_FAILED) ::munmap(base, *bytes);
    return refuse(Errc::out_of_memory);
  }
  const pool::ProcessId id = ++last_;
  Process& process = all_[id];
  process.base = static_cast<std::uint8_t*>(base);
  process.bytes = *bytes;
  process.user = peer.uid;
  process.all_bytes = &bytes_used_;
  bytes_used_.fetch_add(*bytes);
  const MutableBytes data(process.base + pool::data_at, *bytes - pool::data_at);
  Result<MemoryRegion> region =
      MemoryRegion::make(*domain_, data, MemoryRegion::for_remote_reads_and_writes);
  if (!region.ok()) {
    refuse(region.code());
    all_.erase(id);
    return;
  }
  process.region.emplace(std::move(region).value());
  const int fds[2] = {its_doorbell.get(), its_wake.get()};
  if (!pool::send_attach(socket.get(), {}, Span<const int>(fds)).ok()) {
    all_.erase(id);
    return;
  }
  process.socket = std::move(socket);
  process.doorbell = std::move(rings);
  process.wake = std::move(wakes);
  come(id, *std::launder(reinterpret_cast<pool::Area*>(base)), data);
}

}  // namespace mitosis::verbs
