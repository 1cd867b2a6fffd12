// SPDX-License-Identifier: MIT
// The messages of an RPC session, after its handshake. World: both.
// A request is one frame; its reply carries the same request id: the reply named here, or an
// ErrorReply. `idempotent` says whether a request may be executed twice when a reply is lost.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/wire/limit.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::rpc {

inline constexpr std::uint32_t max_part = std::uint32_t{1} << 20;           ///< bytes
inline constexpr std::uint64_t max_descriptor = std::uint64_t{64} << 20;    ///< bytes
inline constexpr std::uint32_t max_fallback_read = std::uint32_t{2} << 20;  ///< bytes

/// Are you there?
struct Nil {
  static constexpr MessageType type = MessageType::nil;
  static constexpr bool idempotent = true;
  template <class A>
  void fields(A&) {}
};
struct NilReply {
  static constexpr MessageType type = MessageType::nil_reply;
  template <class A>
  void fields(A&) {}
};

/// Opens a prepared parent to the calling machine and starts its lease. Answered by a
/// DescriptorHead and then as many DescriptorParts as make `total_bytes`.
struct QueryDescriptor {
  static constexpr MessageType type = MessageType::query_descriptor;
  static constexpr bool idempotent = true;
  HandlerId handler{};
  AuthKey key;
  template <class A>
  void fields(A& a) {
    a(handler, key);
  }
};
struct DescriptorHead {
  static constexpr MessageType type = MessageType::descriptor_head;
  std::uint64_t total_bytes = 0;
  Generation generation{};
  std::uint64_t lease_ms = 0;  ///< renew before it ends; 0: there is no lease
  std::string policy;          ///< that it was prepared with: what its children have by default
  template <class A>
  void fields(A& a) {
    a(total_bytes, generation, lease_ms, policy);
  }
};
struct DescriptorPart {
  static constexpr MessageType type = MessageType::descriptor_part;
  std::vector<std::uint8_t> bytes;
  template <class A>
  void fields(A& a) {
    a(wire::limit<max_part>(bytes));
  }
};

/// Reads a target's bytes through its machine's CPU.
struct FallbackRead {
  static constexpr MessageType type = MessageType::fallback_read;
  static constexpr bool idempotent = true;
  TargetName target;
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  template <class A>
  void fields(A& a) {
    a(target, address, bytes);
  }
};
struct FallbackReply {
  static constexpr MessageType type = MessageType::fallback_reply;
  std::vector<std::uint8_t> bytes;
  template <class A>
  void fields(A& a) {
    a(wire::limit<max_fallback_read>(bytes));
  }
};

/// Ends a prepared parent: its targets are destroyed when the reply comes.
struct Reclaim {
  static constexpr MessageType type = MessageType::reclaim;
  static constexpr bool idempotent = false;
  HandlerId handler{};
  AuthKey key;
  template <class A>
  void fields(A& a) {
    a(handler, key);
  }
};
struct ReclaimReply {
  static constexpr MessageType type = MessageType::reclaim_reply;
  template <class A>
  void fields(A&) {}
};

/// The calling machine still has children of this parent.
struct RenewLease {
  static constexpr MessageType type = MessageType::renew_lease;
  static constexpr bool idempotent = true;
  HandlerId handler{};
  Generation generation{};
  template <class A>
  void fields(A& a) {
    a(handler, generation);
  }
};
struct LeaseReply {
  static constexpr MessageType type = MessageType::lease_reply;
  std::uint64_t lease_ms = 0;
  template <class A>
  void fields(A& a) {
    a(lease_ms);
  }
};

/// The client ends the session; not answered.
struct Bye {
  static constexpr MessageType type = MessageType::bye;
  template <class A>
  void fields(A&) {}
};

}  // namespace mitosis::rpc
