// SPDX-License-Identifier: MIT
// ClientSession: the calling side of a session over datagrams, as a state machine. World: user; no
// I/O and no clock: it is told of datagrams and of the time, and hands out what is to be sent.
// All that is sent again is sent again by this side; the server only ever answers.
#pragma once

#include <mitosis/net/rpc/ud/datagram.hpp>
#include <mitosis/net/rpc/ud/opening.hpp>
#include <mitosis/net/rpc/ud/patience.hpp>
#include <mitosis/net/rpc/ud/pieces.hpp>
#include <mitosis/net/wire/codec.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::rpc::ud {

struct ClientOptions {
  std::uint32_t datagram_bytes = 1024;  ///< the port's MTU
  std::uint32_t window = 16;            ///< pieces of a reply on their way, at most 64
  std::uint32_t max_reply = (std::uint32_t{65} << 20);  ///< a descriptor, with its frames' heads
  PatienceOptions patience = {};
};

/// One session, one call at a time. After each `open`, `call`, `close`, `on_datagram` and `on_time`
/// send what `take_output` gives, and call `on_time` once `due()` has come. One thread at a time.
class ClientSession {
 public:
  enum class State : std::uint8_t { idle, opening, ready, closing, ended };
  using Datagrams = std::vector<std::vector<std::uint8_t>>;

  ClientSession(const auth::Identity& self, MachineId expected, auth::ClientName name,
                ClientOptions options)
      : options_(options),
        opening_(self, expected, name, options.datagram_bytes),
        patience_(options.patience) {}

  /// Authenticates both sides. When it is through, `state()` is ready.
  void open(Time now) {
    state_ = State::opening;
    out_.push_back(opening_.datagram());
    patience_.begin(now);
  }
  /// Sends a request; in the state ready, with none outstanding. `number` is higher than that of
  /// any call before on this client name.
  void call(std::uint64_t number, std::vector<std::uint8_t> request, Time now) {
    number_ = number;
    request_ = std::move(request);
    reply_.reset();
    reply_begun_ = false;
    pieces_.start(piece_count(static_cast<std::uint32_t>(request_.size()), piece_bytes()),
                  credits_);
    outstanding_ = true;
    began_ = now;
    send_fresh();
    patience_.begin(now);
  }
  /// Nobody waits for the reply any more.
  void abandon() noexcept {
    outstanding_ = false;
    patience_.stop();
  }
  /// Tells the peer, and ends when it has heard, or is not heard of.
  void close(Time now) {
    outstanding_ = false;
    if (state_ != State::ready) {
      end(Error(Errc::shutting_down));
      return;
    }
    state_ = State::closing;
    send(Kind::close);
    patience_.begin(now);
  }

  void on_datagram(Bytes datagram, Time now);
  void on_time(Time now);

  [[nodiscard]] Time due() const noexcept { return patience_.due(); }
  [[nodiscard]] Datagrams take_output() noexcept { return std::exchange(out_, {}); }
  [[nodiscard]] State state() const noexcept { return state_; }
  /// The reply to the outstanding call, once.
  [[nodiscard]] std::optional<std::vector<std::uint8_t>> take_reply() noexcept {
    return std::exchange(reply_, std::nullopt);
  }
  /// Why the session has ended.
  [[nodiscard]] const Error& error() const noexcept { return error_; }
  [[nodiscard]] MachineId peer() const noexcept { return opening_.peer(); }

 private:
  static constexpr unsigned reorder = 3;      ///< so much later a piece, and the one before is lost
  static constexpr unsigned close_tries = 3;  ///< the peer forgets an idle session anyway

  [[nodiscard]] std::uint32_t piece_bytes() const noexcept {
    return datagram_bytes_ - static_cast<std::uint32_t>(header_bytes);
  }
  void end(const Error& why) {
    state_ = State::ended;
    error_ = why;
    patience_.stop();
  }
  void send(Kind kind) {
    Header header;
    header.kind = kind;
    header.session = session_;
    header.call = number_;
    out_.push_back(make_datagram(header, {}, seal_));
  }
  void send_piece(std::uint32_t piece) {
    Header header;
    header.kind = Kind::request;
    header.piece = piece;
    header.session = session_;
    header.call = number_;
    header.total = static_cast<std::uint32_t>(request_.size());
    header.window = options_.window;
    out_.push_back(make_datagram(
        header, piece_of(Bytes(request_.data(), request_.size()), piece, piece_bytes()), seal_));
  }
  void send_fresh() {
    for (std::uint32_t p = pieces_.fresh(); p != pieces_.count(); p = pieces_.fresh()) {
      send_piece(p);
    }
  }
  /// Asks for the pieces of the reply from `from` up to `to` that have not come.
  void send_pull(std::uint32_t from, std::uint32_t to) {
    Header header;
    header.kind = Kind::pull;
    header.session = session_;
    header.call = number_;
    header.piece = reply_begun_ ? assembly_.next() : 0;
    header.mask = reply_begun_ ? assembly_.mask() : 0;
    header.total = from;
    header.window = to - header.piece;
    out_.push_back(make_datagram(header, {}, seal_));
  }

  void on_handshake(const Header& header, Bytes datagram, Time now);
  void on_refused(Bytes payload);
  void on_got(const Header& header, Time now);
  void on_reply(const Header& header, Bytes payload, Time now);

  ClientOptions options_;
  Opening opening_;
  Patience patience_;
  State state_ = State::idle;
  Error error_;
  Datagrams out_;

  std::uint64_t session_ = 0;
  Seal seal_;
  std::uint32_t datagram_bytes_ = min_datagram;
  std::uint32_t credits_ = 1;
  unsigned closes_ = 0;

  std::uint64_t number_ = 0;
  bool outstanding_ = false;
  Time began_{};
  std::vector<std::uint8_t> request_;
  Pieces pieces_;
  Assembly assembly_;
  bool reply_begun_ = false;
  std::uint32_t granted_ = 0;   ///< pieces of the reply up to here may come
  std::uint32_t mended_ = ~0u;  ///< the missing piece that was asked for before its time
  std::optional<std::vector<std::uint8_t>> reply_;
};

inline void ClientSession::on_datagram(Bytes datagram, Time now) {
  const std::optional<Header> header = parse_datagram(datagram);
  if (!header) return;
  const Bytes payload = payload_of(datagram);
  if (state_ == State::opening) {
    if (opening_.fits(*header)) on_handshake(*header, datagram, now);
    return;
  }
  if ((state_ != State::ready && state_ != State::closing) || header->session != session_) return;
  if (header->kind == Kind::unknown) {
    return end(Error(Errc::connection_lost, "the peer does not know this session any more"));
  }
  if (!seal_.fits(datagram)) return;
  if (header->kind == Kind::closed) {
    return end(state_ == State::closing
                   ? Error(Errc::shutting_down)
                   : Error(Errc::connection_lost, "the peer has closed the session"));
  }
  if (state_ != State::ready || !outstanding_ || header->call != number_) return;
  if (header->kind == Kind::got) on_got(*header, now);
  if (header->kind == Kind::reply) on_reply(*header, payload, now);
}

inline void ClientSession::on_handshake(const Header& header, Bytes datagram, Time now) {
  if (header.kind == Kind::refused) return on_refused(payload_of(datagram));
  if (header.kind == Kind::challenge) {
    const Result<bool> answered = opening_.on_challenge(header, payload_of(datagram));
    if (!answered.ok()) return end(answered.error());
    if (!*answered) return;
    out_.push_back(opening_.datagram());
    patience_.begin(now);
  }
  if (header.kind == Kind::welcome) {
    const Result<bool> open = opening_.on_welcome(header, datagram);
    if (!open.ok()) return end(open.error());
    if (!*open) return;
    const Opening::Session& granted = opening_.session();
    session_ = granted.number;
    seal_ = granted.seal;
    datagram_bytes_ = std::min({granted.datagram_bytes, options_.datagram_bytes, max_datagram});
    credits_ = std::min<std::uint32_t>(granted.credits, 64);
    state_ = State::ready;
    patience_.stop();
  }
}

inline void ClientSession::on_refused(Bytes payload) {
  const Result<ErrorReply> why = wire::decode<ErrorReply>(payload);
  if (!why.ok() || why->error.code == Errc::ok) return;
  end(why->error);
}

inline void ClientSession::on_got(const Header& header, Time now) {
  patience_.alive();
  if (reply_begun_ || !pieces_.got(header.piece, header.mask)) return;
  if (patience_.undisturbed()) {
    patience_.measured(static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(began_));
  }
  send_fresh();
  patience_.begin(now);
}

inline void ClientSession::on_reply(const Header& header, Bytes payload, Time now) {
  if (!reply_begun_) {
    if (header.total > options_.max_reply) {
      return end(Error(Errc::bad_message, "a reply that is longer than any"));
    }
    // `mask` is how long the call itself took.
    const auto took = static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(began_);
    if (patience_.undisturbed() && pieces_.count() == 1 && took > header.mask) {
      patience_.measured(took - header.mask);
    }
    assembly_.start(header.total, piece_bytes());
    reply_begun_ = true;
    granted_ = options_.window;
    mended_ = ~0u;
  }
  const std::uint32_t before = assembly_.next();
  if (header.total != assembly_.total() || !assembly_.add(header.piece, payload)) return;
  patience_.alive();
  if (assembly_.complete()) {
    if (assembly_.count() > 1) send_pull(assembly_.count(), assembly_.count());  // may be forgotten
    reply_ = assembly_.take();
    outstanding_ = false;
    patience_.stop();
    return;
  }
  const std::uint32_t next = assembly_.next();
  if (next != before) patience_.begin(now);
  if (granted_ < assembly_.count() && next + options_.window - granted_ >= options_.window / 2) {
    send_pull(granted_, next + options_.window);
    granted_ = next + options_.window;
  }
  if (assembly_.end() > next + reorder && mended_ != next) {
    send_pull(next, assembly_.end());
    mended_ = next;
  }
}

inline void ClientSession::on_time(Time now) {
  if (patience_.due() > now) return;
  if (state_ == State::closing && ++closes_ >= close_tries) {
    return end(Error(Errc::shutting_down));
  }
  if (!patience_.again(now)) {
    const std::string about = "no answer to " + std::to_string(patience_.tries()) + " packets";
    const bool opening = state_ == State::opening;
    return end(Error(opening ? Errc::machine_unreachable : Errc::connection_lost, about.c_str()));
  }
  if (state_ == State::opening) {
    out_.push_back(opening_.datagram());
  } else if (state_ == State::closing) {
    send(Kind::close);
  } else if (reply_begun_) {
    send_pull(assembly_.next(), std::max(granted_, assembly_.next() + 1));
  } else if (pieces_.all_there()) {
    send_pull(0, options_.window);
  } else {
    for (std::uint32_t p = pieces_.base(); p < pieces_.sent(); ++p) {
      if (pieces_.lacks(p)) send_piece(p);
    }
  }
}

}  // namespace mitosis::rpc::ud
