// SPDX-License-Identifier: MIT
// The handshake's messages: Hello, Challenge, Proof; the server answers with a Proof too.
// World: both. They are the first frames of every connection between agents.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/ids.hpp>

#include <array>
#include <cstdint>

namespace mitosis {

/// Every type of message between agents. Part of the wire protocol: append, never renumber.
enum class MessageType : std::uint16_t {
  hello = 1,
  challenge = 2,
  proof = 3,
  error_reply = 4,
  nil = 5,
  nil_reply = 6,
  query_descriptor = 7,
  descriptor_head = 8,
  descriptor_part = 9,
  fallback_read = 10,
  fallback_reply = 11,
  reclaim = 12,
  reclaim_reply = 13,
  renew_lease = 14,
  lease_reply = 15,
  bye = 16,
  connect_queue_pair = 17,
  queue_pair_reply = 18,
  query_pieces = 19,
  pieces_reply = 20,
  expect_connection = 21,
  connection_place = 22,
  query_way = 23,
  way_reply = 24,
};

namespace auth {

/// What a connection is for; fixed by the handshake.
enum class Purpose : std::uint8_t {
  rpc = 1,
  demand_reads = 2,
  bulk_reads = 3,
  pool_link = 4,  ///< two connection pools meet, and hear of each other's end
  last = pool_link,
};

/// Unpredictable and used once: makes every handshake's proofs different.
using Nonce = std::array<std::uint8_t, 32>;
using Mac = std::array<std::uint8_t, 32>;

/// client -> server, first.
struct Hello {
  static constexpr MessageType type = MessageType::hello;
  MachineId machine = MachineId::none;  ///< who connects
  Purpose purpose = Purpose::rpc;
  std::uint64_t client = 0;  ///< random; names the client across its reconnections
  std::uint64_t sent = 0;    ///< how many calls this client has sent over earlier connections
  Nonce nonce{};
  template <class A>
  void fields(A& a) {
    a(machine, purpose, client, sent, nonce);
  }
};

/// server -> client, second.
struct Challenge {
  static constexpr MessageType type = MessageType::challenge;
  MachineId machine = MachineId::none;  ///< who is connected to
  Nonce nonce{};
  template <class A>
  void fields(A& a) {
    a(machine, nonce);
  }
};

/// client -> server, third; then server -> client, last.
struct Proof {
  static constexpr MessageType type = MessageType::proof;
  Mac mac{};
  template <class A>
  void fields(A& a) {
    a(mac);
  }
};

}  // namespace auth

/// The end of a request that failed, or of a handshake.
struct ErrorReply {
  static constexpr MessageType type = MessageType::error_reply;
  Error error;
  template <class A>
  void fields(A& a) {
    a(error);
  }
};

}  // namespace mitosis
