// SPDX-License-Identifier: MIT
// Calls<Client>: what one machine can ask another, whatever carries it. World: user.
// Mixed into the clients over TCP and over datagrams, so that both have the same interface.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::rpc {

/// What QueryDescriptor brings.
struct FetchedDescriptor {
  std::vector<std::uint8_t> bytes;
  Generation generation{};
  std::uint64_t lease_ms = 0;  ///< 0: there is no lease
  std::string policy;          ///< that it was prepared with
};

/// `Client::call<Request, T>(request, deadline, step, read_reply)` makes one call: it hands the
/// first frame of the reply to `read_reply(stream, frame, number)`, which takes further ones from
/// `stream.receive(max_payload, deadline)`; an ErrorReply is its own business. Errors name the
/// machine. Deadlines are of CLOCK_MONOTONIC.
template <class Client>
class Calls {
 public:
  [[nodiscard]] Result<void> ping(Time deadline) {
    return plain<Nil, NilReply>(Nil{}, deadline, "ping");
  }
  [[nodiscard]] Result<FetchedDescriptor> query_descriptor(HandlerId handler, const AuthKey& key,
                                                           Time deadline);
  /// Fills `into` (1 byte to 2 MiB).
  [[nodiscard]] Result<void> fallback_read(const TargetName& target, std::uint64_t address,
                                           MutableBytes into, Time deadline);
  [[nodiscard]] Result<void> reclaim(HandlerId handler, const AuthKey& key, Time deadline) {
    return plain<Reclaim, ReclaimReply>(Reclaim{handler, key}, deadline, "reclaim");
  }
  /// The new lease in milliseconds.
  [[nodiscard]] Result<std::uint64_t> renew_lease(HandlerId handler, Generation generation,
                                                  Time deadline);
  /// The peer's end of a queue pair. transport_unsupported: it has no verbs.
  [[nodiscard]] Result<QueuePairEnd> connect_queue_pair(const ConnectQueuePair& request,
                                                        Time deadline) {
    auto reply = simple<ConnectQueuePair, QueuePairReply>(request, deadline, "connect queue pair");
    if (!reply.ok()) return reply.error();
    return reply->end;
  }
  /// Where to connect a queue pair by rdma_cm.
  [[nodiscard]] Result<ConnectionPlace> expect_connection(const ExpectConnection& request,
                                                          Time deadline) {
    return simple<ExpectConnection, ConnectionPlace>(request, deadline, "connect by rdma_cm");
  }
  /// What of a target can be read by RDMA.
  [[nodiscard]] Result<PiecesReply> query_pieces(const TargetName& target, Time deadline) {
    return simple<QueryPieces, PiecesReply>(QueryPieces{target}, deadline, "query pieces");
  }

  /// Where the peer takes calls by datagrams.
  [[nodiscard]] Result<ud::Way> query_way(Time deadline) {
    auto reply = simple<QueryWay, WayReply>(QueryWay{}, deadline, "query way");
    if (!reply.ok()) return reply.error();
    return reply->way;
  }

 protected:
  /// The reply of type `Reply` to call `number`; the error that an ErrorReply carries otherwise.
  template <class Reply>
  static Result<Reply> expect(const wire::Frame& frame, std::uint64_t number) {
    if (frame.header.request != number) {
      return Error(Errc::bad_message, "a reply to another call");
    }
    return frame.as<Reply>();
  }

 private:
  friend Client;
  Calls() = default;

  template <class Request, class T, class ReadReply>
  Result<T> make(const Request& request, Time deadline, const char* step, ReadReply read_reply) {
    return static_cast<Client*>(this)->template call<Request, T>(request, deadline, step,
                                                                 std::move(read_reply));
  }
  template <class Request, class Reply>
  Result<Reply> simple(const Request& request, Time deadline, const char* step) {
    return make<Request, Reply>(request, deadline, step,
                                [](auto&, const wire::Frame& frame, std::uint64_t number) {
                                  return expect<Reply>(frame, number);
                                });
  }
  template <class Request, class Reply>
  Result<void> plain(const Request& request, Time deadline, const char* step) {
    Result<Reply> reply = simple<Request, Reply>(request, deadline, step);
    if (!reply.ok()) return reply.error();
    return {};
  }
};

template <class Client>
Result<std::uint64_t> Calls<Client>::renew_lease(HandlerId handler, Generation generation,
                                                 Time deadline) {
  Result<LeaseReply> reply =
      simple<RenewLease, LeaseReply>(RenewLease{handler, generation}, deadline, "renew lease");
  if (!reply.ok()) return reply.error().of_handler(handler);
  return reply->lease_ms;
}

template <class Client>
Result<void> Calls<Client>::fallback_read(const TargetName& target, std::uint64_t address,
                                          MutableBytes into, Time deadline) {
  FallbackRead request{target, address, static_cast<std::uint32_t>(into.size())};
  Result<FallbackReply> reply = make<FallbackRead, FallbackReply>(
      request, deadline, "fallback read",
      [&into](auto&, const wire::Frame& frame, std::uint64_t number) {
        Result<FallbackReply> got = expect<FallbackReply>(frame, number);
        if (got.ok() && got->bytes.size() != into.size()) {
          return Result<FallbackReply>(Error(Errc::bad_message, "a read of another length"));
        }
        return got;
      });
  if (!reply.ok()) return reply.error().at_address(address);
  std::copy(reply->bytes.begin(), reply->bytes.end(), into.begin());
  return {};
}

template <class Client>
Result<FetchedDescriptor> Calls<Client>::query_descriptor(HandlerId handler, const AuthKey& key,
                                                          Time deadline) {
  Result<FetchedDescriptor> fetched = make<QueryDescriptor, FetchedDescriptor>(
      QueryDescriptor{handler, key}, deadline, "query descriptor",
      [deadline](auto& stream, const wire::Frame& frame,
                 std::uint64_t number) -> Result<FetchedDescriptor> {
        Result<DescriptorHead> head = expect<DescriptorHead>(frame, number);
        if (!head.ok()) return head.error();
        if (head->total_bytes > max_descriptor) {
          return Error(Errc::bad_message, "a descriptor over 64 MiB");
        }
        FetchedDescriptor whole{{}, head->generation, head->lease_ms, head->policy};
        while (whole.bytes.size() < head->total_bytes) {
          Result<wire::Frame> next = stream.receive(wire::max_frame_payload, deadline);
          if (!next.ok()) return next.error();
          Result<DescriptorPart> part = expect<DescriptorPart>(*next, number);
          if (!part.ok()) return part.error();
          if (part->bytes.empty() || part->bytes.size() > head->total_bytes - whole.bytes.size()) {
            return Error(Errc::bad_message, "a descriptor of another length");
          }
          whole.bytes.insert(whole.bytes.end(), part->bytes.begin(), part->bytes.end());
        }
        return whole;
      });
  if (!fetched.ok()) return fetched.error().of_handler(handler);
  return fetched;
}

}  // namespace mitosis::rpc
