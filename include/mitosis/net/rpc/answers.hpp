// SPDX-License-Identifier: MIT
// Answers: asks the Service what one caller wants to know, and makes the frames of the reply,
// whatever carries them. World: user.
#pragma once

#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/rpc/reply_cache.hpp>
#include <mitosis/net/rpc/service.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace mitosis::rpc {

/// One caller's session. Calls are executed one after the other, at most once where that matters.
/// Service and cache must outlive it.
class Answers {
 public:
  /// No call is given more than this, whatever the client asks for.
  static constexpr std::uint32_t max_patience_ms = 120'000;

  Answers(const auth::Hello& hello, Service& service, ReplyCache& replies)
      : hello_(hello), service_(&service), replies_(&replies) {
    replies_->greet(hello_.client, hello_.sent);
  }
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;
  ~Answers() { service_->on_session_end(number_); }

  /// Executes a request. `send(bytes)` sends a part of the reply, whole frames; false: it could
  /// not. Returns false where the session must end: it breaks the protocol, or cannot be sent to.
  template <class Send>
  bool answer(const wire::Frame& frame, Send send) {
    switch (static_cast<MessageType>(frame.header.type)) {
      case MessageType::nil:
        return call<Nil>(
            frame, [](const Caller&, const Nil&) { return Result<NilReply>(NilReply{}); }, send);
      case MessageType::query_descriptor:
        return send_descriptor(frame, send);
      case MessageType::fallback_read:
        return call<FallbackRead>(
            frame, [this](const Caller& who, const FallbackRead& m) { return read(who, m); }, send);
      case MessageType::reclaim:
        return call<Reclaim>(
            frame,
            [this](const Caller& who, const Reclaim& m) {
              const Result<void> done = service_->reclaim(who, m.handler, m.key);
              return done.ok() ? Result<ReclaimReply>(ReclaimReply{}) : done.error();
            },
            send);
      case MessageType::renew_lease:
        return call<RenewLease>(
            frame,
            [this](const Caller& who, const RenewLease& m) {
              const Result<std::uint64_t> lease =
                  service_->renew_lease(who, m.handler, m.generation);
              return lease.ok() ? Result<LeaseReply>(LeaseReply{*lease}) : lease.error();
            },
            send);
      case MessageType::connect_queue_pair:
        return call<ConnectQueuePair>(
            frame,
            [this](const Caller& who, const ConnectQueuePair& m) {
              const auto end = service_->connect_queue_pair(who, number_, m);
              return end.ok() ? Result<QueuePairReply>(QueuePairReply{*end}) : end.error();
            },
            send);
      case MessageType::expect_connection:
        return call<ExpectConnection>(
            frame,
            [this](const Caller& who, const ExpectConnection& m) {
              return service_->expect_connection(who, number_, m);
            },
            send);
      case MessageType::query_pieces:
        return call<QueryPieces>(
            frame,
            [this](const Caller& who, const QueryPieces& m) {
              return service_->query_pieces(who, m.target);
            },
            send);
      case MessageType::query_way:
        return call<QueryWay>(
            frame,
            [this](const Caller& who, const QueryWay&) {
              const auto way = service_->query_way(who);
              return way.ok() ? Result<WayReply>(WayReply{*way}) : way.error();
            },
            send);
      default:
        send(reply_frame(frame.header, ErrorReply{Error(Errc::bad_message, "not a request")}));
        return false;
    }
  }

 private:
  using Header = wire::FrameHeader;

  /// Decodes a request, executes it (at most once where that matters) and sends the reply.
  template <class M, class Body, class Send>
  bool call(const wire::Frame& frame, Body body, Send& send) {
    Result<M> message = frame.as<M>();
    if (!message.ok()) {
      send(reply_frame(frame.header, ErrorReply{message.error()}));
      return false;
    }
    const std::uint64_t request = frame.header.request;
    if constexpr (!M::idempotent) {
      auto before = replies_->begin(hello_.client, hello_.sent, request,
                                    std::chrono::milliseconds(patience(frame)));
      if (!before.ok()) return send(reply_frame(frame.header, ErrorReply{before.error()}));
      if (before->has_value()) return send(**before);
    }
    const auto result = body(caller(frame), *message);
    const std::vector<std::uint8_t> reply = result.ok()
                                                ? reply_frame(frame.header, *result)
                                                : reply_frame(frame.header, failure(result));
    if constexpr (!M::idempotent) replies_->finish(hello_.client, request, reply);
    return send(reply);
  }

  Result<FallbackReply> read(const Caller& who, const FallbackRead& m) {
    if (m.bytes == 0 || m.bytes > max_fallback_read) {
      return Error(Errc::invalid_argument, "a fallback read has 1 byte to 2 MiB");
    }
    FallbackReply reply;
    reply.bytes.resize(m.bytes);
    const Result<void> done = service_->fallback_read(
        who, m.target, m.address, MutableBytes(reply.bytes.data(), reply.bytes.size()));
    if (!done.ok()) return done.error();
    return reply;
  }

  template <class Send>
  bool send_descriptor(const wire::Frame& frame, Send& send) {
    Result<QueryDescriptor> query = frame.as<QueryDescriptor>();
    if (!query.ok()) {
      send(reply_frame(frame.header, ErrorReply{query.error()}));
      return false;
    }
    Result<DescriptorLease> lease =
        service_->query_descriptor(caller(frame), query->handler, query->key);
    if (!lease.ok()) return send(reply_frame(frame.header, failure(lease)));
    const std::vector<std::uint8_t>& all = *lease->bytes;
    if (all.size() > max_descriptor) {
      return send(reply_frame(frame.header, ErrorReply{Error(Errc::limit_exceeded, "descriptor")}));
    }
    // The head and the first part go together: most descriptors have one, and each packet wakes.
    std::vector<std::uint8_t> out =
        reply_frame(frame.header,
                    DescriptorHead{all.size(), lease->generation, lease->lease_ms, lease->policy});
    for (std::size_t at = 0; at < all.size(); at += max_part) {
      const std::size_t end = std::min<std::size_t>(all.size(), at + max_part);
      DescriptorPart part;
      part.bytes.assign(all.begin() + static_cast<std::ptrdiff_t>(at),
                        all.begin() + static_cast<std::ptrdiff_t>(end));
      const std::vector<std::uint8_t> bytes = reply_frame(frame.header, part);
      out.insert(out.end(), bytes.begin(), bytes.end());
      if (!send(out)) return false;
      out.clear();
    }
    return out.empty() || send(out);
  }

  static std::uint64_t next_number() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
  static std::uint32_t patience(const wire::Frame& frame) {
    return std::min(frame.header.patience_ms, max_patience_ms);
  }
  Caller caller(const wire::Frame& frame) const {
    return Caller{hello_.machine, tcp::deadline_in(patience(frame))};
  }
  template <class T>
  static ErrorReply failure(const Result<T>& result) {
    // A failure without a code would be no ErrorReply to the peer.
    return ErrorReply{result.code() == Errc::ok ? Error(Errc::bad_message) : result.error()};
  }
  template <class M>
  static std::vector<std::uint8_t> reply_frame(const Header& request, const M& reply) {
    Header header;
    header.request = request.request;
    return wire::make_frame(reply, header);
  }

  auth::Hello hello_;
  const std::uint64_t number_ = next_number();  ///< no other session of this process has it
  Service* service_;
  ReplyCache* replies_;
};

}  // namespace mitosis::rpc
