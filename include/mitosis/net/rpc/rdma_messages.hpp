// SPDX-License-Identifier: MIT
// What two agents tell each other so that one may read the other's memory by RDMA. World: user.
// Plain numbers: it needs no verbs library, so an agent without one can answer that it has none.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/wire/limit.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::rpc {

/// More pieces of one target are not told: their pages come the other way.
inline constexpr std::uint32_t max_pieces = 50'000;
/// Nor more doors.
inline constexpr std::uint32_t max_doors = 32;

/// One end of a connection of queue pairs, as the other end needs it.
struct QueuePairEnd {
  std::uint32_t number = 0;        ///< of the queue pair
  std::uint32_t first_packet = 0;  ///< the packet sequence number that it starts with
  std::uint16_t lid = 0;           ///< InfiniBand's local address; 0 on Ethernet
  std::uint8_t mtu = 0;            ///< ibv_mtu: the largest that it can take
  std::uint8_t reads = 0;          ///< how many reads it can have open: as their target
  std::array<std::uint8_t, 16> gid{};
  template <class A>
  void fields(A& a) {
    a(number, first_packet, lid, mtu, reads, gid);
  }
};

/// Connects a queue pair, for reads of the caller. `client` and `endpoint` name the caller's end
/// across reconnections: one that comes again replaces what it had. It ends with the session.
struct ConnectQueuePair {
  static constexpr MessageType type = MessageType::connect_queue_pair;
  static constexpr bool idempotent = true;
  std::uint64_t client = 0;
  std::uint32_t endpoint = 0;
  QueuePairEnd end;
  template <class A>
  void fields(A& a) {
    a(client, endpoint, end);
  }
};
struct QueuePairReply {
  static constexpr MessageType type = MessageType::queue_pair_reply;
  QueuePairEnd end;
  template <class A>
  void fields(A& a) {
    a(end);
  }
};

/// Whoever brings it to the owner's rdma_cm is the reader that was given it.
using Ticket = std::array<std::uint8_t, 16>;

/// Asks for a place where rdma_cm connects a queue pair; the rest is as with ConnectQueuePair.
struct ExpectConnection {
  static constexpr MessageType type = MessageType::expect_connection;
  static constexpr bool idempotent = true;
  std::uint64_t client = 0;
  std::uint32_t endpoint = 0;
  template <class A>
  void fields(A& a) {
    a(client, endpoint);
  }
};
/// Where: an address of the owner's device ("10.0.0.1:4791"), and the ticket to bring.
struct ConnectionPlace {
  static constexpr MessageType type = MessageType::connection_place;
  std::string address;
  Ticket ticket{};
  template <class A>
  void fields(A& a) {
    a(wire::limit<64>(address), ticket);
  }
};

/// A dynamic target of the owner's device, and where that is: who has not its key reads nothing.
struct Door {
  std::uint32_t number = 0;
  std::uint64_t key = 0;
  std::uint16_t lid = 0;  ///< InfiniBand's local address; 0 on Ethernet
  std::array<std::uint8_t, 16> gid{};
  template <class A>
  void fields(A& a) {
    a(number, key, lid, gid);
  }
};
/// Bytes of a target that can be read by RDMA: `bytes` from `start` (an address of the parent) on
/// are at `remote_address` under `remote_key`. Without a connection they are read through `door`,
/// an index into the doors that were told with it.
struct Piece {
  std::uint64_t start = 0;
  std::uint64_t bytes = 0;
  std::uint64_t remote_address = 0;
  std::uint32_t remote_key = 0;
  std::uint32_t door = 0;
  template <class A>
  void fields(A& a) {
    a(start, bytes, remote_address, remote_key, door);
  }
};

/// Which bytes of a target can be read by RDMA now. revoked: there is no such target.
struct QueryPieces {
  static constexpr MessageType type = MessageType::query_pieces;
  static constexpr bool idempotent = true;
  TargetName target;
  template <class A>
  void fields(A& a) {
    a(target);
  }
};
struct PiecesReply {
  static constexpr MessageType type = MessageType::pieces_reply;
  bool complete = false;  ///< no more will come: what is in no piece is not to be had by RDMA
  std::vector<Piece> pieces;
  std::vector<Door> doors = {};  ///< none: the owner's device has no dynamic connections
  template <class A>
  void fields(A& a) {
    a(complete, wire::limit<max_pieces>(pieces), wire::limit<max_doors>(doors));
  }
};

/// Where the peer takes calls by datagrams. transport_unsupported: nowhere.
struct QueryWay {
  static constexpr MessageType type = MessageType::query_way;
  static constexpr bool idempotent = true;
  template <class A>
  void fields(A&) {}
};
struct WayReply {
  static constexpr MessageType type = MessageType::way_reply;
  ud::Way way;
  template <class A>
  void fields(A& a) {
    a(way.gid, way.queue_pair, way.lid);
  }
};

}  // namespace mitosis::rpc
