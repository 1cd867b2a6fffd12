// SPDX-License-Identifier: MIT
// Context: an opened RDMA device. World: user.
// All verbs objects of a process on that device are made of it, and must end before it does.
#pragma once

#include <fcntl.h>
#include <infiniband/verbs.h>
#include <sys/stat.h>

#include <mitosis/base/result.hpp>
#include <mitosis/net/verbs/device_health.hpp>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_context; move-only. The verbs library lets any thread use it.
class Context {
 public:
  /// Opens the device of that name ("rxe0"); an empty name takes the first one that there is.
  /// transport_unsupported: there is none, or none of that name.
  static Result<Context> open(const char* name) noexcept {
    int count = 0;
    ibv_device** const devices = ::ibv_get_device_list(&count);
    if (devices == nullptr) {
      return Error(Errc::transport_unsupported, "no RDMA device: the kernel has no ib_uverbs",
                   errno)
          .in("open a device");
    }
    ibv_context* opened = nullptr;
    bool found = false;
    int failed = 0;
    for (int i = 0; i < count && !found; ++i) {
      found = *name == '\0' || std::strcmp(::ibv_get_device_name(devices[i]), name) == 0;
      if (found) {
        opened = ::ibv_open_device(devices[i]);
        failed = errno;
      }
    }
    ::ibv_free_device_list(devices);
    if (opened != nullptr) return Context(opened);
    if (found) return Error(Errc::system_call_failed, "ibv_open_device", failed);
    return Error(Errc::transport_unsupported, *name == '\0' ? "no RDMA device is there" : name)
        .in("open a device");
  }
  /// Takes an opened device over.
  explicit Context(ibv_context* raw) noexcept : raw_(raw) {
    const int flags = ::fcntl(raw->async_fd, F_GETFL);
    (void)::fcntl(raw->async_fd, F_SETFL, flags | O_NONBLOCK);  // next_event never waits
    place_ = place();
  }
  Context(Context&& other) noexcept
      : raw_(std::exchange(other.raw_, nullptr)), place_(other.place_) {}
  Context& operator=(Context&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
      place_ = other.place_;
    }
    return *this;
  }
  ~Context() { close(); }

  [[nodiscard]] ibv_context* get() const noexcept { return raw_; }
  [[nodiscard]] const char* name() const noexcept { return ::ibv_get_device_name(raw_->device); }
  /// The next asynchronous event, if there is one; never waits. It is acknowledged: what it is of
  /// could not end before.
  [[nodiscard]] std::optional<DeviceEvent> next_event() const noexcept {
    ibv_async_event raw = {};
    if (::ibv_get_async_event(raw_, &raw) != 0) return std::nullopt;
    DeviceEvent event{raw.event_type, 0};
    if (raw.event_type == IBV_EVENT_PORT_ERR || raw.event_type == IBV_EVENT_PORT_ACTIVE) {
      event.port = static_cast<std::uint8_t>(raw.element.port_num);
    }
    ::ibv_ack_async_event(&raw);
    return event;
  }
  /// Of a port that nobody looks after by them, so that they do not pile up in the kernel.
  void drop_events() const noexcept {
    constexpr int most = 64;  // the rest next time
    for (int i = 0; i < most && next_event(); ++i) {
    }
  }
  /// Whether the kernel is taking the device away. Drivers that cannot take it from who uses it
  /// (rxe, siw) send no event: what waits for us then is `rdma link delete`, or the shutdown.
  /// Its name may soon be another device's. False where /sys did not show it when it was opened.
  [[nodiscard]] bool leaves() const noexcept { return place_.inode != 0 && !(place() == place_); }
  [[nodiscard]] Result<ibv_device_attr> attributes() const noexcept {
    ibv_device_attr attributes = {};
    if (const int e = ::ibv_query_device(raw_, &attributes); e != 0) {
      return Error(Errc::system_call_failed, "ibv_query_device", e).in("ask the device");
    }
    return attributes;
  }
  /// Ports count from 1.
  [[nodiscard]] Result<ibv_port_attr> port(std::uint8_t number) const noexcept {
    ibv_port_attr attributes = {};
    if (const int e = ::ibv_query_port(raw_, number, &attributes); e != 0) {
      return Error(Errc::system_call_failed, "ibv_query_port", e).in("ask the device");
    }
    return attributes;
  }
  [[nodiscard]] Result<ibv_gid> gid(std::uint8_t port, int index) const noexcept {
    ibv_gid gid = {};
    if (::ibv_query_gid(raw_, port, index, &gid) != 0) {
      return Error(Errc::system_call_failed, "ibv_query_gid", errno).in("ask the device");
    }
    return gid;
  }

 private:
  /// What is at the device's path in /sys; inode 0: nothing.
  struct Place {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const Place&) const = default;
  };
  [[nodiscard]] Place place() const noexcept {
    struct stat there = {};
    if (::stat(raw_->device->dev_path, &there) != 0) return {};
    return {there.st_dev, there.st_ino};
  }
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_close_device(raw_);
  }
  ibv_context* raw_;
  Place place_;
};

}  // namespace mitosis::verbs
