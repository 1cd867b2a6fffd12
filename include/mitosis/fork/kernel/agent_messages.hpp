// SPDX-License-Identifier: MIT
// The messages of net/rpc that carry strings or blocks of bytes, for where neither can be had.
// World: both. On the wire they are those messages: a test compares them.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/text.hpp>
#include <mitosis/net/rpc/messages.hpp>

#include <cstdint>

namespace mitosis::kernel {

/// rpc::DescriptorHead.
struct DescriptorHead {
  static constexpr MessageType type = MessageType::descriptor_head;
  std::uint64_t total_bytes = 0;
  Generation generation{};
  std::uint64_t lease_ms = 0;
  Text<255> policy;  ///< a longer one is refused
  template <class A>
  void fields(A& a) {
    a(total_bytes, generation, lease_ms, policy);
  }
};

/// What rpc::DescriptorPart and rpc::FallbackReply begin with: as many bytes follow.
struct BlockHead {
  std::uint32_t bytes = 0;
  template <class A>
  void fields(A& a) {
    a(bytes);
  }
};
inline constexpr std::uint32_t block_head_bytes = 4;

}  // namespace mitosis::kernel
