// SPDX-License-Identifier: MIT
// Worker: what it has of an RDMA device, and what becomes of it without one. World: user.
#pragma once

#include <signal.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/worker.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cstdint>
#include <utility>

namespace mitosis::agent {

/// Ends this process as if it were killed: another worker takes over what it has.
inline void leave_to_next_worker(const Error& why) {
  spdlog::warn("{}; the next worker goes on", describe(why));
  (void)::raise(SIGKILL);
}

/// A worker that is not the first may have children to serve, and no device any more.
inline Result<void> Worker::use_device(int images) {
  if (!options.verbs) return {};
  const bool pause = device_pause_left() > 0;
  auto opened = pause ? Error(Errc::connection_lost, "it has just failed").in("use the RDMA device")
                      : open_rdma(
                            options, targets, *peers, [this] { return budget_left(); }, images);
  if (!opened) {
    if (table.worker_starts.load() == 1) return opened.error();
    if (!pause) note_device_failure();
    spdlog::warn("without RDMA, all goes over TCP until there is a device: {}",
                 describe(opened.error()));
    return {};
  }
  rdma = std::move(opened).value();
  parents.observe(&rdma->observer());
  caches.land_through(&rdma->registrar());
  service_.use(rdma.get());
  return {};
}

inline void Worker::adopt_parents() {
  parents.adopt(&kept_images);
  const bool has_room = rdma && rdma->observer().image_room() != nullptr;
  if (options.verbs && !has_room) kept_images.begin();
}

inline void Worker::note_device_failure() {
  table.device_failed_at.store(static_cast<std::uint64_t>(tcp::monotonic_now()));
}

/// Nanoseconds until a device may be tried (again).
inline std::uint64_t Worker::device_pause_left() const {
  const std::uint64_t failed = table.device_failed_at.load();
  const auto now = static_cast<std::uint64_t>(tcp::monotonic_now());
  return failed == 0 || now >= failed + device_pause ? 0 : failed + device_pause - now;
}

inline Result<void> Worker::look_after_device() {
  if (!options.verbs) return {};
  const auto now = static_cast<std::uint64_t>(tcp::monotonic_now());
  if (rdma) {
    auto done = rdma->look_after_device();
    if (!done) note_device_failure();
    return done;
  }
  if (now < next_device_look_) return {};
  const std::uint64_t left = device_pause_left();
  next_device_look_ = now + (left > 0 ? left : device_pause);
  if (left > 0 || !rdma_is_there(options)) return {};
  return Error(Errc::connection_lost, "there is a device again").in("use the RDMA device");
}

/// Calls by datagrams, both ways; what is missing of that is done over TCP.
inline void Worker::use_datagrams() {
  const auto refused = [this](const Error& why) { refused_connections.add(why); };
  if (auto r = rdma->serve_calls(service_, refused); !r) {
    spdlog::warn("calls of other machines come over TCP: {}", describe(r.error()));
  }
  Peers::Datagrams datagrams;
  datagrams.open = [this](MachineId machine, const rpc::ud::Way& way) {
    return rdma->calls_to(machine, way);
  };
  datagrams.on_change = [](MachineId machine, const Error& why) {
    const auto number = static_cast<std::uint32_t>(machine);
    if (why.code == Errc::ok) {
      spdlog::info("calls to machine {} go by datagrams", number);
    } else {
      spdlog::warn("calls to machine {} go over TCP: {}", number, describe(why));
    }
  };
  peers->use(std::move(datagrams));
}

/// The agent does without where there is no device, or it has not the room. Who wants to attach is
/// told so: the socket is the keeper's and stays.
inline void Worker::hold_pool(int listener) {
  if (rdma) {
    auto held = rdma->hold_pool(listener, peers->book());
    if (held) return;
    spdlog::warn("there is no connection pool: {}", describe(held.error()));
  }
  auto refuses = pool::NoPool::start(listener);
  if (!refuses) {
    spdlog::warn("who attaches to the connection pool is not told that there is none: {}",
                 describe(refuses.error()));
    return;
  }
  no_pool_ = std::move(refuses).value();
}

}  // namespace mitosis::agent
