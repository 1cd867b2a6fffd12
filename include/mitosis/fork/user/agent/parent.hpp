// SPDX-License-Identifier: MIT
// Parent: a prepared parent of this machine, as its agent knows it. World: user.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/image.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>
#include <mitosis/fork/user/local/prepare.hpp>
#include <mitosis/mem/image_room.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mitosis::agent {

using Clock = std::chrono::steady_clock;

/// One prepared parent. Owned by `Parents` and by whoever serves it at the moment; what it holds
/// (shadow, image, descriptors) ends with the last of them, its access with `Parents::reclaim`.
struct Parent {
  HandlerId handler{};
  Generation generation{};
  AuthKey key;
  std::uint32_t uid = 0;
  int pid = 0;
  std::string policy;
  bool copy = false;          ///< Cow<Off>
  std::uint32_t flags = 0;    ///< local::PrepareFlag
  bool for_device = false;    ///< its pages may be registered with a device, sooner or later
  ImageRoom* room = nullptr;  ///< where the copy is put; null: in a file of its own
  /// The generation of the root whose tree it is a member of; 0: it is its own. A member lives, is
  /// used and ends with its root.
  Generation of_tree{};
  UniqueFd parent_pidfd, shadow_pidfd, lifeline, image_fd;
  std::shared_ptr<const ImageExtent> extent;  ///< of the copy, in its room (image_fd: the room's)
  UniqueFd shared_fd;  ///< the pages of its shared memory; none where it has none
  TargetName target;
  int shadow_pid = 0;
  std::uint64_t pages = 0;        ///< that every child fetches when it touches them
  std::uint64_t image_pages = 0;  ///< of a copy, with files' and what is left of its room
  Clock::time_point prepared{};
  Clock::time_point last_use{};  ///< of the lease: a query, a renewal
  std::shared_ptr<const std::vector<std::uint8_t>> descriptor;
  /// Where the parent is itself a child: its own parent's image, whose leases its children need.
  std::shared_ptr<const Image> ancestor;

  enum class State { capturing, ready, failed } state = State::capturing;
  Error failure;
  ParentSlot* slot = nullptr;
};

namespace detail {

inline bool is_keyless(const Parent& parent) noexcept {
  return (parent.flags & local::prepare_keyless) != 0;
}

inline Error belongs_to_another(HandlerId handler) noexcept {
  return Error(Errc::not_permitted, "another user prepared it; act as that user, or as root")
      .of_handler(handler);
}

}  // namespace detail

}  // namespace mitosis::agent
