// SPDX-License-Identifier: MIT
// UdClient: calls to one machine's agent over datagrams; to its caller the same as rpc::Client.
// World: user; thread-safe, blocking, with deadlines. The thread that calls does the sending and
// receiving: it looks for packets in a loop for some microseconds, then sleeps.
#pragma once

#include <mitosis/net/rpc/calls.hpp>
#include <mitosis/net/rpc/turn.hpp>
#include <mitosis/net/rpc/ud/client_session.hpp>
#include <mitosis/net/verbs/frame_buffer.hpp>
#include <mitosis/net/verbs/ud_port.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// One session to one machine, made at the first call and again after a loss. Calls of several
/// threads are made one after the other. Errors name the machine.
class UdClient : public rpc::Calls<UdClient> {
 public:
  struct Options {
    rpc::ud::ClientOptions session = {};
    unsigned tries = 3;           ///< sessions that a call is tried on
    std::uint64_t spin_us = 50;   ///< before sleeping
    std::uint64_t slice_ms = 20;  ///< of sleep, at most, so that `close` is noticed
  };

  /// `peer` is at `way`, which its UdServer tells.
  static Result<std::unique_ptr<UdClient>> open(const ChosenGid& at, auth::Identity self,
                                                MachineId peer, const rpc::ud::Way& way,
                                                Options options) {
    // A window of the reply, and as much again that comes twice.
    Result<std::unique_ptr<UdPort>> port =
        UdPort::open(at, 2 * options.session.window + 16, 64 + options.session.window);
    if (!port.ok()) return port.error();
    options.session.datagram_bytes = (*port)->datagram_bytes();
    return std::unique_ptr<UdClient>(
        new UdClient(std::move(*port), std::move(self), peer, way, options));
  }
  UdClient(const UdClient&) = delete;
  UdClient& operator=(const UdClient&) = delete;
  ~UdClient() { close(); }

  /// Ends the session (the peer is told) and the call in progress (shutting_down), for good. Waits
  /// up to a second for the peer's word, unless it was silent just before.
  void close() {
    closing_.store(true);
    const auto turn = calls_.take(std::chrono::milliseconds(1000));
    if (!turn || !session_) return;
    session_->close(tcp::monotonic_now());
    static_cast<void>(run(silent_ ? tcp::monotonic_now() : tcp::deadline_in(1000), [this] {
      return session_->state() == rpc::ud::ClientSession::State::ended;
    }));
    session_.reset();
  }
  [[nodiscard]] MachineId peer() const noexcept { return peer_; }

 private:
  friend class rpc::Calls<UdClient>;
  using State = rpc::ud::ClientSession::State;

  UdClient(std::unique_ptr<UdPort> port, auth::Identity self, MachineId peer,
           const rpc::ud::Way& way, Options options)
      : port_(std::move(port)), self_(std::move(self)), peer_(peer), way_(way), options_(options) {
    randombytes_buf(&name_, sizeof name_);
  }

  template <class Request, class T, class ReadReply>
  Result<T> call(const Request& request, Time deadline, const char* step, ReadReply read_reply);
  Result<std::vector<std::uint8_t>> exchange(std::uint64_t number,
                                             const std::vector<std::uint8_t>& request,
                                             Time deadline);
  Result<void> connect(Time deadline);

  /// Sends, receives and keeps time until `done()`. timed_out at the deadline.
  template <class Done>
  Result<void> run(Time deadline, Done done) {
    Time spin_until = tcp::monotonic_now() + options_.spin_us * 1000;
    for (;;) {
      for (const auto& bytes : session_->take_output()) {
        Result<void> sent = port_->send(way_, Bytes(bytes.data(), bytes.size()));
        if (!sent.ok()) return sent;
      }
      if (done()) return {};
      const Time now = tcp::monotonic_now();
      if (now >= deadline) return Error(Errc::timed_out);
      if (now >= session_->due()) {
        session_->on_time(now);
        continue;
      }
      Result<std::size_t> came = receive();
      if (!came.ok()) return came.error();
      if (*came > 0) {
        spin_until = now + options_.spin_us * 1000;
      } else if (now >= spin_until) {
        if (Result<void> slept = sleep(std::min(deadline, session_->due())); !slept.ok()) {
          return slept;
        }
      }
    }
  }
  Result<std::size_t> receive() {
    return port_->receive([this](const rpc::ud::Way&, Bytes datagram) {
      session_->on_datagram(datagram, tcp::monotonic_now());
    });
  }
  Result<void> sleep(Time until) {
    if (Result<void> armed = port_->arm(); !armed.ok()) return armed;
    const Result<std::size_t> came = receive();  // between the last look and arming
    if (!came.ok()) return came.error();
    if (*came > 0) return {};
    const Time slice = tcp::deadline_in(options_.slice_ms);
    pollfd waiting{port_->fd(), POLLIN, 0};
    static_cast<void>(
        ::poll(&waiting, 1, tcp::timeout_ms(std::min(until, slice), tcp::monotonic_now())));
    return {};
  }

  std::unique_ptr<UdPort> port_;
  auth::Identity self_;
  MachineId peer_;
  rpc::ud::Way way_;
  Options options_;
  std::uint64_t name_ = 0;  ///< random: this client, across its sessions

  rpc::Turn calls_;              ///< held for a whole call; guards all below
  std::uint64_t number_ = 0;     ///< of the last call
  std::uint64_t last_sent_ = 0;  ///< the last call that (perhaps) reached the wire
  std::optional<rpc::ud::ClientSession> session_;
  bool silent_ = false;  ///< no reply came in the last call's time
  std::atomic<bool> closing_{false};
};

/// A session that is ready.
inline Result<void> UdClient::connect(Time deadline) {
  if (session_ && session_->state() == State::ready) return {};
  port_->drop_events();
  session_.emplace(self_, peer_, auth::ClientName{name_, last_sent_}, options_.session);
  session_->open(tcp::monotonic_now());
  Result<void> opened =
      run(deadline, [this] { return closing_.load() || session_->state() != State::opening; });
  if (!opened.ok()) return opened;
  if (closing_.load()) return Error(Errc::shutting_down);
  if (session_->state() == State::ended) return session_->error();
  return {};
}

inline Result<std::vector<std::uint8_t>> UdClient::exchange(
    std::uint64_t number, const std::vector<std::uint8_t>& request, Time deadline) {
  Error last(Errc::timed_out);
  for (unsigned tries = 0; tries < options_.tries; ++tries) {
    if (Result<void> ready = connect(deadline); !ready.ok()) return ready.error();
    last_sent_ = number;
    session_->call(number, request, tcp::monotonic_now());
    std::optional<std::vector<std::uint8_t>> reply;
    const Result<void> ran = run(deadline, [this, &reply] {
      reply = session_->take_reply();
      return reply || closing_.load() || session_->state() != State::ready;
    });
    silent_ = !reply && !ran.ok();
    if (reply) return std::move(*reply);
    session_->abandon();
    if (!ran.ok()) return ran.error();
    if (closing_.load()) return Error(Errc::shutting_down);
    last = session_->error();
    if (last.code != Errc::connection_lost) break;
  }
  return last;
}

template <class Request, class T, class ReadReply>
Result<T> UdClient::call(const Request& request, Time deadline, const char* step,
                         ReadReply read_reply) {
  const auto failed = [this, step](Error error) { return error.at_machine(peer_).in(step); };
  const Time now = tcp::monotonic_now();
  const auto turn = calls_.take(std::chrono::milliseconds(tcp::timeout_ms(deadline, now)));
  if (!turn) return failed(Error(Errc::timed_out, "another call to this machine is in progress"));
  if (closing_.load()) return failed(Error(Errc::shutting_down));
  wire::FrameHeader header;
  header.request = ++number_;
  header.patience_ms = static_cast<std::uint32_t>(tcp::timeout_ms(deadline, now));
  Result<std::vector<std::uint8_t>> bytes =
      exchange(number_, wire::make_frame(request, header), deadline);
  if (!bytes.ok()) return failed(bytes.error());
  FrameBuffer frames(Bytes(bytes->data(), bytes->size()));
  Result<wire::Frame> first = frames.receive(wire::max_frame_payload, deadline);
  if (!first.ok()) return failed(first.error());
  if (first->template is<ErrorReply>()) {
    const Result<ErrorReply> reply = expect<ErrorReply>(*first, number_);
    if (!reply.ok()) return failed(reply.error());
    return failed(reply->error.code == Errc::ok ? Error(Errc::bad_message) : reply->error);
  }
  Result<T> reply = read_reply(frames, *first, number_);
  if (!reply.ok()) return failed(reply.error());
  return reply;
}

}  // namespace mitosis::verbs
