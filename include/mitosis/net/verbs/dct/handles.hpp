// SPDX-License-Identifier: MIT
// DcHandles: the ways that were used last. World: user; one thread.
// Making a way can take a question to the network, so they are kept; but no more than a fixed
// number, however many peers there are.
#pragma once

#include <mitosis/net/verbs/dct/device.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace mitosis::verbs {

/// `Places` of them. One that is held stays; the longest unused of the others makes room.
template <DcDevice Device, std::size_t Places>
class DcHandles {
 public:
  static constexpr std::size_t none = Places;

  explicit DcHandles(Device& device) noexcept : device_(&device) {}

  /// The place of the way to `port`, held once more. limit_exceeded: all places are held.
  Result<std::size_t> hold(const DcPort& port) {
    std::size_t place = none;
    for (std::size_t i = 0; i < Places; ++i) {
      if (places_[i].handle && places_[i].port == port) return take(i);
      if (places_[i].held == 0 && (place == none || places_[i].used < places_[place].used)) {
        place = i;
      }
    }
    if (place == none) return Error(Errc::limit_exceeded, "ways");
    Result<typename Device::Handle> made = device_->make_handle(port);
    if (!made.ok()) return made.error();
    places_[place].port = port;
    places_[place].handle.emplace(std::move(made).value());
    return take(place);
  }
  void let_go(std::size_t place) noexcept { --places_[place].held; }
  [[nodiscard]] const typename Device::Handle& at(std::size_t place) const noexcept {
    return *places_[place].handle;
  }

 private:
  struct Place {
    DcPort port;
    std::optional<typename Device::Handle> handle;
    std::uint32_t held = 0;
    std::uint64_t used = 0;  ///< of use_, 0: never
  };
  std::size_t take(std::size_t place) noexcept {
    ++places_[place].held;
    places_[place].used = ++use_;
    return place;
  }

  Device* device_;
  Place places_[Places];
  std::uint64_t use_ = 0;
};

}  // namespace mitosis::verbs
