// SPDX-License-Identifier: MIT
// EventLog: what a child did to its address space since it was resumed, in shared memory, so that
// a pager's death loses nothing. World: user.
// A page that is present never faults, so fetched pages need no entry; but a page that was removed
// must never be fetched again, and a moved one must be found: without this log a new pager would
// bring back bytes that the child threw away.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <mitosis/base/errc.hpp>
#include <mitosis/mem/page.hpp>

#include <cstdint>
#include <cstring>

namespace mitosis::agent {

enum class EventKind : std::uint32_t { none = 0, removed = 1, unmapped = 2, moved = 3 };

struct AddressSpaceEvent {
  EventKind kind = EventKind::none;
  std::uint32_t reserved = 0;
  PageRange range;
  PageNumber to{};  ///< of `moved`
};

/// A fixed head in shared memory, which spills into a memfd when it is full. Used by one pager
/// thread at a time; survives it. Trivial, so that it can live in a shared mapping.
class EventLog {
 public:
  static constexpr std::uint32_t head_events = 24;
  /// A child that moves memory about for ever would fill the machine; past this it is
  /// unprotected (see `complete`) rather than wrong.
  static constexpr std::uint32_t max_events = 1u << 20;

  /// Appends and only then counts, so that a death in between leaves a whole log.
  Errc append(const AddressSpaceEvent& event) noexcept {
    if (overflowed_ != 0) return Errc::limit_exceeded;
    if (count_ < head_events) {
      head_[count_] = event;
    } else if (count_ >= max_events || !spill(event)) {
      overflowed_ = 1;
      return Errc::limit_exceeded;
    }
    __atomic_store_n(&count_, count_ + 1, __ATOMIC_RELEASE);
    return Errc::ok;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// False once an event could not be kept: then a new pager must not take the child over.
  [[nodiscard]] bool complete() const noexcept { return overflowed_ == 0; }
  /// Event `i`; kind none where it cannot be read.
  [[nodiscard]] AddressSpaceEvent at(std::uint32_t i) const noexcept {
    if (i < head_events) return head_[i];
    AddressSpaceEvent event;
    const auto offset = static_cast<off_t>((i - head_events) * sizeof event);
    if (::pread(spill_fd_, &event, sizeof event, offset) != ssize_t{sizeof event}) return {};
    return event;
  }
  /// Takes over all events of `other` (of the process that this one was forked from).
  Errc copy_from(const EventLog& other) noexcept {
    for (std::uint32_t i = 0; i < other.count(); ++i) {
      if (const Errc e = append(other.at(i)); e != Errc::ok) return e;
    }
    overflowed_ |= other.overflowed_;
    return Errc::ok;
  }
  void reset() noexcept {
    if (spill_fd_ > 0) ::close(spill_fd_);
    *this = EventLog{};
  }
  [[nodiscard]] int spill_fd() const noexcept { return spill_fd_; }

 private:
  bool spill(const AddressSpaceEvent& event) noexcept {
    if (spill_fd_ <= 0) spill_fd_ = ::memfd_create("mitosis-events", MFD_CLOEXEC);
    if (spill_fd_ <= 0) return false;
    const auto offset = static_cast<off_t>((count_ - head_events) * sizeof event);
    return ::pwrite(spill_fd_, &event, sizeof event, offset) == ssize_t{sizeof event};
  }

  std::uint32_t count_ = 0;
  std::uint32_t overflowed_ = 0;
  std::int32_t spill_fd_ = 0;  // 0 is "none": a zeroed mapping is an empty log
  [[maybe_unused]] std::uint32_t reserved_ = 0;
  AddressSpaceEvent head_[head_events] = {};
};

}  // namespace mitosis::agent
