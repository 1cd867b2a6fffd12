// SPDX-License-Identifier: MIT
// MemoryDevices: devices with dynamic connections that are nothing but memory. World: sim.
// For tests and benchmarks of what decides: they count what is made, and fail as they are told to.
#pragma once

#include <sys/eventfd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/verbs/dct/device.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// The ports of a cluster, and what may be read at each.
class MemoryDevices {
 public:
  struct Port {
    std::map<std::uint32_t, std::uint64_t> targets;              ///< number: key
    std::map<std::uint32_t, std::vector<std::uint8_t>> regions;  ///< remote key: bytes from 0 on
    bool up = true;
    std::uint32_t next = 100;
  };
  Port& port(const DcPort& name) { return ports_[key(name)]; }

  /// What a read of the target comes to.
  Errc read(const DcPort& name, std::uint32_t number, std::uint64_t target_key,
            const DcWork& work) {
    const auto found = ports_.find(key(name));
    if (found == ports_.end() || !found->second.up) return Errc::connection_lost;
    const Port& port = found->second;
    const auto target = port.targets.find(number);
    if (target == port.targets.end() || target->second != target_key) return Errc::connection_lost;
    const auto region = port.regions.find(work.from.remote_key);
    if (region == port.regions.end() || work.from.address > region->second.size() ||
        work.from.bytes > region->second.size() - work.from.address) {
      return Errc::page_unavailable;
    }
    std::memcpy(work.into.data, region->second.data() + work.from.address, work.from.bytes);
    return Errc::ok;
  }

 private:
  static std::pair<std::array<std::uint8_t, 16>, std::uint16_t> key(const DcPort& name) {
    return {name.gid, name.lid};
  }
  std::map<std::pair<std::array<std::uint8_t, 16>, std::uint16_t>, Port> ports_;
};

/// One machine's device, at `self`. Reads are served by `poll`, in the order of their doorbells.
class MemoryDevice {
 public:
  /// Is among the living as long as it lives; its number is never used again.
  class Counted {
   public:
    using Living = std::shared_ptr<std::set<std::uint64_t>>;
    explicit Counted(Living living) : living_(std::move(living)) {
      static std::uint64_t last = 0;
      id = ++last;
      living_->insert(id);
    }
    Counted(Counted&& other) noexcept : id(other.id), living_(std::move(other.living_)) {}
    Counted& operator=(Counted&& other) noexcept {
      std::swap(id, other.id);
      std::swap(living_, other.living_);
      return *this;
    }
    ~Counted() {
      if (living_) living_->erase(id);
    }
    std::uint64_t id = 0;

   private:
    Living living_;
  };
  struct Initiator : Counted {
    using Counted::Counted;
  };
  struct Handle : Counted {
    using Counted::Counted;
    DcPort to;
  };
  class Target {
   public:
    Target(MemoryDevices::Port& port, std::uint32_t number) : port_(&port), number_(number) {}
    Target(Target&& other) noexcept
        : port_(std::exchange(other.port_, nullptr)), number_(other.number_) {}
    Target& operator=(Target&& other) noexcept {
      std::swap(port_, other.port_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Target() {
      if (port_ != nullptr) port_->targets.erase(number_);
    }
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }

   private:
    MemoryDevices::Port* port_;
    std::uint32_t number_;
  };

  MemoryDevice(MemoryDevices& all, DcPort self) : all_(&all), self_(self) {}

  Result<Initiator> make_initiator() {
    if (refuse_initiators) return Error(Errc::system_call_failed, "no more");
    return Initiator(initiators);
  }
  Result<void> reset(Initiator& initiator) {
    ++resets;
    // What was out ends, but no byte of it lands: as a queue has flushed requests in it.
    for (Posted& posted : posted_) posted.flushed |= posted.initiator == initiator.id;
    std::erase(broken_, initiator.id);
    return {};
  }
  Result<Target> make_target(std::uint64_t key) {
    MemoryDevices::Port& port = all_->port(self_);
    std::uint32_t number = 100;  // as devices do: the number of one that has gone is free again
    while (port.targets.contains(number)) ++number;
    port.targets[number] = key;
    return Target(port, number);
  }
  [[nodiscard]] std::uint32_t number(const Target& target) const { return target.number(); }
  Result<Handle> make_handle(const DcPort& port) {
    ++handles_made;
    Handle handle(handles);
    handle.to = port;
    return handle;
  }
  Result<void> post(Initiator& initiator, const Handle& handle, std::uint32_t number,
                    std::uint64_t key, Span<const DcWork> work) {
    ++doorbells;
    for (const DcWork& one : work) {
      posted_.push_back({initiator.id, handle.id, handle.to, number, key, one, false});
    }
    return {};
  }
  std::size_t poll(Span<DcEnd> ends) {
    std::size_t count = 0;
    while (!silent && count < ends.size() && !posted_.empty()) {
      if (hold_up >= posted_.size()) break;
      const auto at = posted_.begin() + static_cast<std::ptrdiff_t>(hold_up);
      const Posted p = *at;
      posted_.erase(at);
      const bool flushed =
          p.flushed || std::find(broken_.begin(), broken_.end(), p.initiator) != broken_.end();
      if (!flushed && (!handles->contains(p.handle) || !initiators->contains(p.initiator)))
        ++misuse;
      const Errc status =
          flushed ? Errc::connection_lost : all_->read(p.to, p.number, p.key, p.work);
      if (status != Errc::ok && !flushed) broken_.push_back(p.initiator);
      ends[count++] = {p.work.id, status};
    }
    // As late as a device may: they have been polled before they are told of.
    if (count > 0 && std::exchange(armed_, false)) (void)::eventfd_write(told_.get(), 1);
    return count;
  }

  Result<void> arm() {
    drain();
    ++arms;
    armed_ = true;
    return {};
  }
  void drain() {
    eventfd_t times = 0;
    (void)::eventfd_read(told_.get(), &times);
  }
  [[nodiscard]] int fd() const { return told_.get(); }

  // Watched and set by tests.
  Counted::Living initiators = std::make_shared<std::set<std::uint64_t>>();
  Counted::Living handles = std::make_shared<std::set<std::uint64_t>>();
  int misuse = 0;  ///< reads whose handle or initiator ended before they did
  int handles_made = 0;
  int doorbells = 0;
  int resets = 0;
  int arms = 0;
  bool silent = false;      ///< nothing ends any more
  std::size_t hold_up = 0;  ///< so many of the oldest do not end yet
  bool refuse_initiators = false;

 private:
  struct Posted {
    std::uint64_t initiator = 0;
    std::uint64_t handle = 0;
    DcPort to;
    std::uint32_t number = 0;
    std::uint64_t key = 0;
    DcWork work;
    bool flushed = false;
  };
  MemoryDevices* all_;
  DcPort self_;
  std::deque<Posted> posted_;
  std::vector<std::uint64_t> broken_;
  UniqueFd told_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool armed_ = false;
};
static_assert(DcDevice<MemoryDevice>);

}  // namespace mitosis::verbs
