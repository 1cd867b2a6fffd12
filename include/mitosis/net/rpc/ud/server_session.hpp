// SPDX-License-Identifier: MIT
// ServerSession: one caller's session at the answering side. World: user; no I/O.
// It keeps the last call and its reply, so that a packet that comes again is answered, and nothing
// is executed twice.
#pragma once

#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/rpc/ud/datagram.hpp>
#include <mitosis/net/rpc/ud/pieces.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::rpc::ud {

class ServerSession {
 public:
  struct Limits {
    std::uint32_t datagram_bytes = min_datagram;
    std::uint32_t max_request = 0;
  };
  struct Answer {
    std::vector<std::vector<std::uint8_t>> datagrams;
    std::optional<std::vector<std::uint8_t>> whole;  ///< the request, to be executed now
  };

  ServerSession(std::uint64_t id, const Way& way, std::uint64_t handshake, const auth::Hello& hello,
                const Seal& seal, Limits limits, std::vector<std::uint8_t> welcome, Time now)
      : id_(id),
        way_(way),
        handshake_(handshake),
        hello_(hello),
        seal_(seal),
        limits_(limits),
        welcome_(std::move(welcome)),
        heard_(now) {}

  /// The packets that it is given have been found to carry its seal.
  Answer on_request(const Header& header, Bytes payload, Time now) {
    heard_ = now;
    Answer answer;
    if (header.call < call_ || header.call == 0) return answer;  // a late copy
    if (header.call > call_) begin(header);
    if (phase_ == Phase::refused) {
      answer.datagrams = pieces(0, window_, 0, 0);
    } else if (phase_ == Phase::executing) {
      answer.datagrams.push_back(got());
    } else if (phase_ == Phase::replied) {
      answer.datagrams = pieces(0, 1, 0, 0);  // the rest is asked for
    } else if (phase_ == Phase::receiving && header.total == assembly_.total() &&
               assembly_.add(header.piece, payload)) {
      if (assembly_.complete()) {
        phase_ = Phase::executing;
        began_ = now;
        answer.whole = assembly_.take();
      } else {
        answer.datagrams.push_back(got());
      }
    }
    return answer;
  }

  Answer on_pull(const Header& header, Time now) {
    heard_ = now;
    Answer answer;
    if (header.call != call_ || call_ == 0) return answer;
    if (phase_ == Phase::receiving || phase_ == Phase::executing) {
      answer.datagrams.push_back(got());
    } else if (phase_ == Phase::replied || phase_ == Phase::refused) {
      const std::uint32_t window = std::min(header.window, max_window);
      if (header.piece >= piece_count(reply_size(), piece_bytes())) {
        reply_.clear();
        reply_.shrink_to_fit();
        phase_ = Phase::forgotten;
      } else {
        answer.datagrams = pieces(std::max(header.total, header.piece), header.piece + window,
                                  header.piece, header.mask);
      }
    }
    return answer;
  }

  /// The first pieces of the reply, as many as the caller has room for.
  std::vector<std::vector<std::uint8_t>> replied(std::uint64_t call,
                                                 std::vector<std::uint8_t> bytes, Time now) {
    if (call != call_ || phase_ != Phase::executing) return {};
    reply_ = std::move(bytes);
    took_ = static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(began_);
    phase_ = Phase::replied;
    return pieces(0, window_, 0, 0);
  }

  [[nodiscard]] std::vector<std::uint8_t> closed() const {
    Header header = headed(Kind::closed);
    return make_datagram(header, {}, seal_);
  }
  [[nodiscard]] const std::vector<std::uint8_t>& welcome() const noexcept { return welcome_; }
  [[nodiscard]] const Way& way() const noexcept { return way_; }
  [[nodiscard]] std::uint64_t handshake() const noexcept { return handshake_; }
  [[nodiscard]] const auth::Hello& hello() const noexcept { return hello_; }
  [[nodiscard]] const Seal& seal() const noexcept { return seal_; }
  /// Nanoseconds without a packet; 0 while a call is executed.
  [[nodiscard]] std::uint64_t idle(Time now) const noexcept {
    if (phase_ == Phase::executing || now < heard_) return 0;
    return static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(heard_);
  }

 private:
  enum class Phase : std::uint8_t { none, receiving, executing, replied, refused, forgotten };
  static constexpr std::uint32_t max_window = 64;

  [[nodiscard]] std::uint32_t piece_bytes() const noexcept {
    return limits_.datagram_bytes - static_cast<std::uint32_t>(header_bytes);
  }
  [[nodiscard]] std::uint32_t reply_size() const noexcept {
    return static_cast<std::uint32_t>(reply_.size());
  }
  void begin(const Header& header) {
    call_ = header.call;
    window_ = std::clamp<std::uint32_t>(header.window, 1, max_window);
    took_ = 0;
    reply_.clear();
    if (header.total > limits_.max_request) {
      wire::FrameHeader frame;
      frame.request = call_;
      reply_ =
          wire::make_frame(ErrorReply{Error(Errc::limit_exceeded, "a request's length")}, frame);
      phase_ = Phase::refused;
      return;
    }
    assembly_.start(header.total, piece_bytes());
    phase_ = Phase::receiving;
  }
  [[nodiscard]] Header headed(Kind kind) const noexcept {
    Header header;
    header.kind = kind;
    header.session = id_;
    header.call = call_;
    return header;
  }
  [[nodiscard]] std::vector<std::uint8_t> got() const {
    Header header = headed(Kind::got);
    // While it is executed the whole is taken out: all of it has come.
    header.piece = phase_ == Phase::executing ? ~0u : assembly_.next();
    header.mask = phase_ == Phase::executing ? 0 : assembly_.mask();
    return make_datagram(header, {}, seal_);
  }
  /// Those of [from, to) that the caller has not told to have.
  [[nodiscard]] std::vector<std::vector<std::uint8_t>> pieces(std::uint32_t from, std::uint32_t to,
                                                              std::uint32_t first,
                                                              std::uint64_t mask) const {
    std::vector<std::vector<std::uint8_t>> out;
    Header header = headed(Kind::reply);
    header.total = reply_size();
    header.mask = took_;
    const std::uint32_t end = std::min(to, piece_count(reply_size(), piece_bytes()));
    for (header.piece = from; header.piece < end; ++header.piece) {
      if (header.piece >= first && header.piece != first && has_come(header.piece, first, mask)) {
        continue;
      }
      out.push_back(make_datagram(
          header, piece_of(Bytes(reply_.data(), reply_.size()), header.piece, piece_bytes()),
          seal_));
    }
    return out;
  }

  std::uint64_t id_;
  Way way_;
  std::uint64_t handshake_;
  auth::Hello hello_;
  Seal seal_;
  Limits limits_;
  std::vector<std::uint8_t> welcome_;
  Time heard_;

  Phase phase_ = Phase::none;
  std::uint64_t call_ = 0;
  std::uint32_t window_ = 1;
  Assembly assembly_;
  Time began_{};
  std::uint64_t took_ = 0;
  std::vector<std::uint8_t> reply_;
};

}  // namespace mitosis::rpc::ud
