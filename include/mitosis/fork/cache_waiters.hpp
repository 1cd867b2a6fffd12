// SPDX-License-Identifier: MIT
// CacheWaiters: the children that wait for pages which another child is fetching into the cache
// that they share. World: any (freestanding). Lists are intrusive: waiting allocates nothing.
#pragma once

#include <mitosis/mem/page.hpp>

namespace mitosis {

class CacheWaiters;

/// A child in the list. It must leave before it dies.
class CacheWaiter {
 public:
  /// Called when the fetch of these keys has ended, well or not: the cache is to be asked again.
  /// A function pointer, not a virtual function: a kernel has no `__cxa_pure_virtual`.
  using OnFilled = void (*)(CacheWaiter& self, PageRange keys) noexcept;

  explicit CacheWaiter(OnFilled on_filled) noexcept : on_filled_(on_filled) {}
  CacheWaiter(const CacheWaiter&) = delete;
  CacheWaiter& operator=(const CacheWaiter&) = delete;

 private:
  friend class CacheWaiters;
  OnFilled on_filled_;
  CacheWaiters* in_ = nullptr;
  CacheWaiter* next_ = nullptr;
  CacheWaiter* previous_ = nullptr;
};

/// One a cache, used by the one thread that serves the cache's children.
class CacheWaiters {
 public:
  CacheWaiters() noexcept = default;
  CacheWaiters(const CacheWaiters&) = delete;
  CacheWaiters& operator=(const CacheWaiters&) = delete;

  /// Adds the child, once.
  void join(CacheWaiter& child) noexcept {
    if (child.in_ != nullptr) return;
    child.in_ = this;
    child.previous_ = nullptr;
    child.next_ = first_;
    if (first_ != nullptr) first_->previous_ = &child;
    first_ = &child;
  }
  void leave(CacheWaiter& child) noexcept {
    if (child.in_ != this) return;
    if (&child == walking_) walking_ = child.next_;
    (child.previous_ != nullptr ? child.previous_->next_ : first_) = child.next_;
    if (child.next_ != nullptr) child.next_->previous_ = child.previous_;
    child.in_ = nullptr;
    child.next_ = child.previous_ = nullptr;
  }
  /// Tells every waiting child; they may join and leave meanwhile, but not call `filled`.
  void filled(PageRange keys) noexcept {
    for (CacheWaiter* child = first_; child != nullptr; child = walking_) {
      walking_ = child->next_;
      child->on_filled_(*child, keys);
    }
  }
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

 private:
  CacheWaiter* first_ = nullptr;
  CacheWaiter* walking_ = nullptr;  ///< the next one to tell
};

}  // namespace mitosis
