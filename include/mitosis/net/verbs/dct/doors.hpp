// SPDX-License-Identifier: MIT
// Doors: opens and closes dynamic targets for those that are read from. World: user.
// An interface, so that who registers memory is the same with and without such a device.
#pragma once

#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/verbs/dct/targets.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

namespace mitosis::verbs {

/// Thread-safe.
class Doors {
 public:
  Doors() = default;
  Doors(const Doors&) = delete;
  Doors& operator=(const Doors&) = delete;
  virtual ~Doors() = default;
  /// One that nobody has been told of; limit_exceeded: there are as many as there may be.
  virtual Result<rpc::Door> open() = 0;
  /// Once it returns nothing is read through it any more.
  virtual void close(const rpc::Door& door) noexcept = 0;
};

/// Those of a device, which must outlive it; at most so many. `port` is where that is reached.
template <DcDevice Device>
class DcDoors final : public Doors {
 public:
  DcDoors(Device& device, const DcPort& port, std::size_t most)
      : targets_(device, most), port_(port) {}

  Result<rpc::Door> open() override {
    const std::lock_guard lock(mutex_);
    const Result<TargetName> made = targets_.create();
    if (!made.ok()) return made.error();
    return rpc::Door{made->number, made->key, port_.lid, port_.gid};
  }
  void close(const rpc::Door& door) noexcept override {
    const std::lock_guard lock(mutex_);
    targets_.destroy(door.number);
  }

 private:
  std::mutex mutex_;
  DcTargets<Device> targets_;
  DcPort port_;
};

}  // namespace mitosis::verbs
