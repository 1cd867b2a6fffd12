// SPDX-License-Identifier: MIT
// DcTargets: the life of targets and their keys: one a prepared parent (or a VMA of it), until
// reclaim. World: user; one thread at a time.
#pragma once

#include <sys/random.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/net/verbs/dct/device.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace mitosis::verbs {

/// The device must outlive it. A device gives a destroyed target's number to a later one: what was
/// told of the former does not open the latter, for every key is drawn anew.
template <DcDevice Device>
class DcTargets {
 public:
  DcTargets(Device& device, std::size_t most) noexcept : device_(&device), most_(most) {}

  /// limit_exceeded: there are as many as there may be.
  Result<TargetName> create() {
    if (targets_.size() >= most_) return Error(Errc::limit_exceeded, "dynamic targets");
    std::uint64_t key = 0;
    while (key == 0) {  // 0 is what a target without a key has
      if (::getrandom(&key, sizeof key, 0) != ssize_t{sizeof key}) {
        return Error(Errc::system_call_failed, "getrandom", errno).in("create a target");
      }
    }
    Result<typename Device::Target> made = device_->make_target(key);
    if (!made.ok()) return made.error();
    const std::uint32_t number = device_->number(*made);
    targets_.insert_or_assign(number, std::move(made).value());
    return TargetName{number, key};
  }
  /// Once it returns no read of it begins any more. Idempotent.
  void destroy(std::uint32_t number) noexcept { targets_.erase(number); }
  void destroy_all() noexcept { targets_.clear(); }
  [[nodiscard]] std::size_t size() const noexcept { return targets_.size(); }

 private:
  Device* device_;
  std::size_t most_;
  std::unordered_map<std::uint32_t, typename Device::Target> targets_;
};

}  // namespace mitosis::verbs
