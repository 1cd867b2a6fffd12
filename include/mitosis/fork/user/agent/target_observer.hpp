// SPDX-License-Identifier: MIT
// TargetObserver: who wants to know which parents can be read from. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/mem/image_room.hpp>

namespace mitosis::agent {

struct Parent;

/// Called under the lock of `Parents`, but for `on_close`: it must not call that.
class TargetObserver {
 public:
  TargetObserver() = default;
  TargetObserver(const TargetObserver&) = delete;
  TargetObserver& operator=(const TargetObserver&) = delete;
  virtual ~TargetObserver() = default;
  /// Where copies of parents are to be put; null: in files of their own.
  virtual ImageRoom* image_room() noexcept { return nullptr; }
  /// All parents of an earlier worker have been opened, or are lost.
  virtual void on_adopted() {}
  /// The parent can be resumed from now on. Prepare has ended; this must not take long.
  virtual void on_open(const Parent& parent) = 0;
  /// Its target is destroyed: once this returns nobody reads from it. May take its time.
  virtual void on_close(const TargetName& target) = 0;
};

}  // namespace mitosis::agent
