// SPDX-License-Identifier: MIT
// DeviceHealth: what a device's asynchronous events mean for whoever uses one port of it.
// World: user. Pure: it is told of events and decides; it knows no device.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>

namespace mitosis::verbs {

/// An event of a device, without what it points at: that may end once it is acknowledged.
struct DeviceEvent {
  ibv_event_type type = IBV_EVENT_DEVICE_FATAL;
  std::uint8_t port = 0;  ///< of events of a port
};

/// One thread tells it; any may ask.
class DeviceHealth {
 public:
  /// What came of an event.
  enum class News : std::uint8_t {
    none,       ///< nothing that changes what may be done
    port_down,  ///< no packet goes until it is up again
    port_up,
    failed,  ///< all that was made of the device is of no use any more
  };
  /// `port_up`: as the port is when its events begin to be told.
  DeviceHealth(std::uint8_t port, bool port_up) noexcept : port_(port), port_up_(port_up) {}

  /// A completion queue that has failed (it overran) counts as the device: what hangs on one would
  /// wait for completions that never come. Queue pairs tell their own failures by completions.
  News on_event(const DeviceEvent& event) noexcept {
    switch (event.type) {
      case IBV_EVENT_DEVICE_FATAL:
      case IBV_EVENT_CQ_ERR:
        return on_gone();
      case IBV_EVENT_PORT_ERR:
        return event.port == port_ && port_up_.exchange(false) ? News::port_down : News::none;
      case IBV_EVENT_PORT_ACTIVE:
        return event.port == port_ && !port_up_.exchange(true) ? News::port_up : News::none;
      default:
        return News::none;
    }
  }
  /// The kernel has taken it away.
  News on_gone() noexcept { return failed_.exchange(true) ? News::none : News::failed; }

  /// Whether it is worth trying.
  [[nodiscard]] bool usable() const noexcept { return port_up_.load() && !failed_.load(); }

 private:
  const std::uint8_t port_;
  std::atomic<bool> port_up_;
  std::atomic<bool> failed_{false};
};

}  // namespace mitosis::verbs
