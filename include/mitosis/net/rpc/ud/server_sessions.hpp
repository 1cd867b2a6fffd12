// SPDX-License-Identifier: MIT
// ServerSessions: the answering side of all sessions over datagrams, as a state machine.
// World: user; no I/O and no clock. It sends only in answer, so it needs no timer but for
// forgetting; what it keeps is bounded, and nobody gets memory who has not proved to be of the
// cluster, but for a place among the strangers.
#pragma once

#include <mitosis/net/rpc/ud/server_session.hpp>
#include <mitosis/net/rpc/ud/strangers.hpp>

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::rpc::ud {

struct ServerOptions {
  std::uint32_t datagram_bytes = 1024;   ///< the port's MTU
  std::uint32_t credits = 8;             ///< pieces of a request on their way; receives are posted
  std::size_t max_sessions = 256;        ///< for `max_sessions * (credits + 1) + max_strangers`
  std::size_t max_strangers = 64;        ///< in their handshake; the oldest makes room
  std::uint32_t max_request = 65536;     ///< bytes
  std::uint64_t idle = 600'000'000'000;  ///< ns without a packet, and a session is forgotten
};

/// A call that has come whole. Answer it with `reply`, from the thread that steps the machine.
struct ReadyCall {
  std::uint64_t session = 0;
  std::uint64_t call = 0;
  auth::Hello hello;  ///< who calls
  std::vector<std::uint8_t> request;
};

struct OutgoingDatagram {
  Way to;
  std::vector<std::uint8_t> bytes;
};

/// After each `on_datagram`, `reply`, `on_time` and `stop` send what `take_output` gives. One
/// thread at a time.
class ServerSessions {
 public:
  ServerSessions(auth::Identity self, ServerOptions options)
      : self_(std::move(self)), options_(options), strangers_(options.max_strangers) {}

  void on_datagram(const Way& from, Bytes datagram, Time now);
  /// Of a call that is not the session's last one any more it is dropped: nobody waits for it.
  void reply(std::uint64_t session, std::uint64_t call, std::vector<std::uint8_t> bytes, Time now) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    for (auto& piece : found->second.replied(call, std::move(bytes), now)) {
      out_.push_back({found->second.way(), std::move(piece)});
    }
  }
  /// Forgets sessions that nobody uses. To be called every few seconds.
  void on_time(Time now) {
    for (auto at = sessions_.begin(); at != sessions_.end();) {
      at = at->second.idle(now) >= options_.idle ? sessions_.erase(at) : std::next(at);
    }
  }
  /// Tells every caller that its session is gone, once, and forgets all.
  void stop() {
    for (auto& [id, session] : sessions_) out_.push_back({session.way(), session.closed()});
    sessions_.clear();
  }

  [[nodiscard]] std::vector<OutgoingDatagram> take_output() noexcept {
    return std::exchange(out_, {});
  }
  [[nodiscard]] std::vector<ReadyCall> take_calls() noexcept { return std::exchange(calls_, {}); }
  /// Why handshakes were refused, since the last time.
  [[nodiscard]] std::vector<Error> take_refusals() noexcept { return std::exchange(refusals_, {}); }
  [[nodiscard]] std::size_t sessions() const noexcept { return sessions_.size(); }
  [[nodiscard]] std::size_t strangers() const noexcept { return strangers_.size(); }

 private:
  void on_open(const Way& from, const Header& header, Bytes payload);
  void on_proof(const Way& from, const Header& header, Bytes payload, Time now);
  void refuse(const Way& to, std::uint64_t handshake, const Error& why);
  bool make_room(Time now);

  auth::Identity self_;
  ServerOptions options_;
  Strangers strangers_;
  std::unordered_map<std::uint64_t, ServerSession> sessions_;
  std::vector<OutgoingDatagram> out_;
  std::vector<ReadyCall> calls_;
  std::vector<Error> refusals_;
};

inline void ServerSessions::on_datagram(const Way& from, Bytes datagram, Time now) {
  const std::optional<Header> header = parse_datagram(datagram);
  if (!header) return;
  const Bytes payload = payload_of(datagram);
  if (header->kind == Kind::open) return on_open(from, *header, payload);
  if (header->kind == Kind::proof) return on_proof(from, *header, payload, now);
  const bool for_session =
      header->kind == Kind::request || header->kind == Kind::pull || header->kind == Kind::close;
  if (!for_session) return;
  const auto found = sessions_.find(header->session);
  if (found == sessions_.end()) {
    Header answer;
    answer.kind = Kind::unknown;
    answer.session = header->session;
    answer.call = header->call;
    out_.push_back({from, make_datagram(answer)});
    return;
  }
  ServerSession& session = found->second;
  if (session.way() != from || !session.seal().fits(datagram)) return;
  if (header->kind == Kind::close) {
    out_.push_back({from, session.closed()});
    sessions_.erase(found);
    return;
  }
  ServerSession::Answer answer = header->kind == Kind::request
                                     ? session.on_request(*header, payload, now)
                                     : session.on_pull(*header, now);
  for (auto& bytes : answer.datagrams) out_.push_back({from, std::move(bytes)});
  if (answer.whole) {
    calls_.push_back({header->session, header->call, session.hello(), std::move(*answer.whole)});
  }
}

inline void ServerSessions::on_open(const Way& from, const Header& header, Bytes payload) {
  const Result<auth::Hello> hello = wire::decode<auth::Hello>(payload);
  if (!hello.ok()) return;
  if (hello->purpose != auth::Purpose::rpc) {
    return refuse(from, header.call, Error(Errc::bad_message, "datagrams carry calls alone"));
  }
  if (header.window < min_datagram) {
    return refuse(from, header.call,
                  Error(Errc::transport_unsupported, "an MTU under 512 bytes: use --fabric tcp"));
  }
  const Stranger& stranger = strangers_.greet(self_, from, header.call, header.window, *hello);
  Header answer;
  answer.kind = Kind::challenge;
  answer.call = header.call;
  answer.session = stranger.session;
  const std::vector<std::uint8_t> challenge = wire::encode(stranger.challenge);
  out_.push_back({from, make_datagram(answer, Bytes(challenge.data(), challenge.size()))});
}

inline void ServerSessions::on_proof(const Way& from, const Header& header, Bytes payload,
                                     Time now) {
  if (const auto known = sessions_.find(header.session); known != sessions_.end()) {
    // Its welcome was lost.
    if (known->second.way() == from && known->second.handshake() == header.call) {
      out_.push_back({from, known->second.welcome()});
    }
    return;
  }
  Stranger* const stranger = strangers_.find(from, header.call, header.session);
  const Result<auth::Proof> theirs = wire::decode<auth::Proof>(payload);
  if (stranger == nullptr || !theirs.ok()) return;
  const Result<auth::Proof> ours = stranger->responder.check(*theirs);
  if (!ours.ok()) {
    strangers_.forget(*stranger);
    return refuse(from, header.call, ours.error());
  }
  // What the same client had before it lost its session is of no use to anybody.
  const auth::Hello& hello = stranger->responder.hello();
  std::erase_if(sessions_, [&hello](const auto& entry) {
    return entry.second.hello().machine == hello.machine &&
           entry.second.hello().client == hello.client;
  });
  if (!make_room(now)) {
    strangers_.forget(*stranger);
    return refuse(from, header.call, Error(Errc::limit_exceeded, "sessions"));
  }
  const std::uint32_t datagram =
      std::min({stranger->datagram_bytes, options_.datagram_bytes, max_datagram});
  const Seal seal(*self_.secret, theirs->mac, ours->mac);
  Header answer;
  answer.kind = Kind::welcome;
  answer.call = header.call;
  answer.session = header.session;
  answer.total = options_.credits;
  answer.window = datagram;
  const std::vector<std::uint8_t> proof = wire::encode(*ours);
  std::vector<std::uint8_t> welcome =
      make_datagram(answer, Bytes(proof.data(), proof.size()), seal);
  out_.push_back({from, welcome});
  sessions_.emplace(header.session,
                    ServerSession(header.session, from, header.call, hello, seal,
                                  {datagram, options_.max_request}, std::move(welcome), now));
  strangers_.forget(*stranger);
}

inline void ServerSessions::refuse(const Way& to, std::uint64_t handshake, const Error& why) {
  Header header;
  header.kind = Kind::refused;
  header.call = handshake;
  const std::vector<std::uint8_t> reply = wire::encode(ErrorReply{why});
  out_.push_back({to, make_datagram(header, Bytes(reply.data(), reply.size()))});
  refusals_.push_back(why);
}

/// Where all places are taken, one that has not been used for a tenth of the idle time goes.
inline bool ServerSessions::make_room(Time now) {
  if (sessions_.size() < options_.max_sessions) return true;
  auto longest = sessions_.end();
  for (auto at = sessions_.begin(); at != sessions_.end(); ++at) {
    if (longest == sessions_.end() || at->second.idle(now) > longest->second.idle(now))
      longest = at;
  }
  if (longest == sessions_.end() || longest->second.idle(now) < options_.idle / 10) return false;
  sessions_.erase(longest);
  return true;
}

}  // namespace mitosis::rpc::ud
