// SPDX-License-Identifier: MIT
// ReadLane: one endpoint of a fabric: a connection to one peer for one kind of reads. World: user.
// Connects by itself at the first request, authenticates, sends, receives, finds time-outs; never
// blocks. Every request that is enqueued completes into the context's queue exactly once.
#pragma once

#include <sys/epoll.h>

#include <mitosis/net/auth/client_handshake.hpp>
#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/fabric_context.hpp>
#include <mitosis/net/tcp/lane_receiver.hpp>
#include <mitosis/net/tcp/socket.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::tcp {

/// Used by its fabric's thread alone.
class ReadLane {
 public:
  ReadLane(FabricContext& context, std::uint32_t endpoint) noexcept
      : context_(&context), endpoint_(endpoint), receiver_(context.done, context.scrap) {}
  ReadLane(const ReadLane&) = delete;
  ReadLane& operator=(const ReadLane&) = delete;
  ~ReadLane() { close(); }

  /// Points the lane at a destination. It must have no live request.
  void bind(Destination destination) noexcept {
    close();
    destination_ = destination;
    failures_ = 0;
    retry_at_ = Time{0};
  }
  void enqueue(const ReadRequest& request) {
    PendingRead read;
    read.into = request.into.data;
    read.bytes = request.bytes;
    read.cookie = request.cookie;
    read.deadline = request.deadline;
    queued_.push_back({read, request.target, request.remote_address});
    if (request.deadline < soonest_) soonest_ = request.deadline;
    ++live_;
  }
  /// Sends what is queued; connects first where there is no connection.
  void flush(Time now);
  /// The socket has something to say. `events` as epoll reports them.
  void on_ready(std::uint32_t events, Time now);
  /// Receives without asking epoll first.
  void receive(Time now) {
    // No reply is faster than the call that follows the post: that one look is saved.
    if (std::exchange(just_sent_, false)) return;
    if (state_ == State::ready && !receiver_.sent().empty()) receive_replies(now);
  }
  /// Ends what is overdue; reconnects where a backoff has passed. Call when `soonest()` is past.
  void expire(Time now);
  /// Completes all requests with `why` and drops the connection.
  void fail(Errc why);

  /// When `expire` has something to do; never later than that.
  [[nodiscard]] Time soonest() const noexcept { return soonest_; }
  /// Whether it has requests to complete or a connection in the making.
  [[nodiscard]] bool busy() const noexcept {
    return live_ > 0 || state_ == State::connecting || state_ == State::handshaking;
  }
  /// Whether it is connected and has nothing left to send.
  [[nodiscard]] bool only_receives() const noexcept {
    return state_ == State::ready && out_.empty();
  }
  [[nodiscard]] bool has_socket() const noexcept { return static_cast<bool>(fd_); }
  /// How many requests completed since the last call.
  [[nodiscard]] std::uint32_t take_finished() noexcept {
    collect();
    return std::exchange(finished_, 0);
  }

 private:
  enum class State : std::uint8_t { closed, connecting, handshaking, ready };
  struct Queued {
    PendingRead read;
    TargetName target;
    std::uint64_t address = 0;
  };
  /// Timed-out requests whose replies may still come; beyond this the peer counts as stuck.
  static constexpr std::size_t max_dead = 256;
  static constexpr std::size_t send_batch = 256;  ///< request records a send(2)

  void connect(Time now);
  void greet();
  void shake_hands(Time now);
  void receive_replies(Time now);
  bool send_out(Time now);
  void load();
  void give_up(const Error& why, Time now);
  void complete(const PendingRead& read, Errc status) {
    context_->done.push_back({read.cookie, status});
    ++finished_;
    --live_;
  }
  /// Counts what the receiver completed.
  void collect() noexcept {
    const std::uint32_t replied = receiver_.take_finished();
    live_ -= replied;
    finished_ += replied;
  }
  void listen_for(std::uint32_t events) noexcept;
  void close() noexcept;

  FabricContext* context_;
  std::uint32_t endpoint_;
  Destination destination_;
  State state_ = State::closed;
  UniqueFd fd_;
  std::uint32_t listening_ = 0;  ///< the epoll events that are asked for
  std::optional<auth::ClientHandshake> handshake_;
  std::vector<std::uint8_t> greeting_;  ///< received bytes of the handshake
  Ring<Queued> queued_;                 ///< not sent yet
  LaneReceiver receiver_;               ///< and what was sent
  std::vector<std::uint8_t> out_;       ///< serialised, in part sent
  std::size_t out_at_ = 0;
  std::uint32_t live_ = 0;      ///< requests that have not completed
  std::uint32_t finished_ = 0;  ///< completions that `take_finished` has not told
  std::uint32_t failures_ = 0;  ///< in a row, since a read succeeded
  bool just_sent_ = false;
  Time soonest_ = Time::never;
  Time retry_at_{0};  ///< no connect before
  Time attempt_ends_ = Time::never;
};

// -- connecting -----------------------------------------------------------------------------------

inline void ReadLane::connect(Time now) {
  const std::optional<Address> address = context_->book->find(destination_.peer);
  if (!address) return give_up(Error(Errc::machine_unknown), now);
  Result<UniqueFd> fd = start_connect(*address);
  if (!fd.ok()) return give_up(fd.error(), now);
  fd_ = std::move(fd).value();
  state_ = State::connecting;
  attempt_ends_ = now + context_->options.connect_ms * nanoseconds_per_ms;
  if (attempt_ends_ < soonest_) soonest_ = attempt_ends_;
  listen_for(EPOLLIN | EPOLLOUT);
}

inline void ReadLane::greet() {
  const auth::Purpose purpose =
      destination_.lane == Lane::demand ? auth::Purpose::demand_reads : auth::Purpose::bulk_reads;
  handshake_.emplace(context_->identity, destination_.peer, purpose);
  out_ = handshake_->start();
  out_at_ = 0;
  state_ = State::handshaking;
}

/// Receives handshake frames; nothing else may come before its end.
inline void ReadLane::shake_hands(Time now) {
  std::uint8_t raw[512];
  const ssize_t got = ::recv(fd_.get(), raw, sizeof(raw), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    return give_up(Error(Errc::connection_lost, "in the handshake", got < 0 ? errno : 0), now);
  }
  greeting_.insert(greeting_.end(), raw, raw + got);
  while (state_ == State::handshaking && greeting_.size() >= wire::frame_header_bytes) {
    const Bytes all(greeting_.data(), greeting_.size());
    Result<wire::FrameHeader> header =
        wire::parse_frame_header(all.sub(0, wire::frame_header_bytes), auth::max_handshake_payload);
    if (!header.ok()) return give_up(header.error(), now);
    const std::size_t whole = wire::frame_header_bytes + header->length;
    if (greeting_.size() < whole) return;
    const Bytes payload = all.sub(wire::frame_header_bytes, header->length);
    wire::Frame frame{*header, {payload.begin(), payload.end()}};
    greeting_.erase(greeting_.begin(), greeting_.begin() + static_cast<std::ptrdiff_t>(whole));
    Result<auth::ClientHandshake::Step> step = handshake_->on_frame(frame);
    if (!step.ok()) return give_up(step.error(), now);
    out_.insert(out_.end(), step->send.begin(), step->send.end());
    if (step->done) {
      if (!greeting_.empty()) return give_up(Error(Errc::bad_message, "bytes ahead of time"), now);
      handshake_.reset();
      state_ = State::ready;
      attempt_ends_ = Time::never;
    }
  }
  send_out(now);
}

// -- sending and receiving ------------------------------------------------------------------------

inline void ReadLane::flush(Time now) {
  if (state_ == State::closed && !queued_.empty()) {
    if (now >= retry_at_) {
      connect(now);
    } else if (retry_at_ < soonest_) {
      soonest_ = retry_at_;
    }
  } else if (state_ == State::ready) {
    send_out(now);
  }
}

/// Serialises queued requests into the empty send buffer.
inline void ReadLane::load() {
  out_.clear();
  out_at_ = 0;
  while (!queued_.empty() && out_.size() < send_batch * sizeof(LaneRequest)) {
    const Queued& queued = queued_[0];
    LaneRequest record;
    record.target_number = queued.target.number;
    record.bytes = queued.read.bytes;
    record.target_key = queued.target.key;
    record.address = queued.address;
    record.sequence = receiver_.expect(queued.read);
    const auto* const raw = reinterpret_cast<const std::uint8_t*>(&record);
    out_.insert(out_.end(), raw, raw + sizeof(record));
    queued_.pop_front();
  }
}

/// False where the connection broke.
inline bool ReadLane::send_out(Time now) {
  just_sent_ = receiver_.sent().empty();
  for (;;) {
    if (out_at_ == out_.size()) {
      out_.clear();
      out_at_ = 0;
      if (state_ == State::ready) load();
      if (out_.empty()) break;
    }
    const ssize_t sent = ::send(fd_.get(), out_.data() + out_at_, out_.size() - out_at_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      out_at_ += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      listen_for(EPOLLIN | EPOLLOUT);
      return true;
    } else if (errno != EINTR) {
      give_up(Error(Errc::connection_lost, "send", errno), now);
      return false;
    }
  }
  listen_for(EPOLLIN);
  return true;
}

inline void ReadLane::receive_replies(Time now) {
  const std::size_t outstanding = receiver_.sent().size();
  const LaneReceiver::Outcome outcome = receiver_.receive(fd_.get());
  if (receiver_.sent().size() < outstanding) failures_ = 0;
  if (outcome == LaneReceiver::Outcome::broken) {
    give_up(Error(Errc::connection_lost, "the peer closed or broke a read lane"), now);
  }
}

inline void ReadLane::on_ready(std::uint32_t events, Time now) {
  if (state_ == State::connecting) {
    const int error = connect_error(fd_.get());
    if (error != 0 || (events & (EPOLLERR | EPOLLHUP)) != 0) {
      return give_up(Error(Errc::machine_unreachable, "connect", error), now);
    }
    if ((events & EPOLLOUT) == 0) return;
    greet();
    send_out(now);
    return;
  }
  if ((events & EPOLLOUT) != 0 && state_ != State::closed && !send_out(now)) return;
  if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) == 0) return;
  if (state_ == State::handshaking) {
    shake_hands(now);
  } else if (state_ == State::ready) {
    receive_replies(now);
  }
}

// -- ending ---------------------------------------------------------------------------------------

inline void ReadLane::expire(Time now) {
  if (now >= attempt_ends_) {
    return give_up(Error(Errc::machine_unreachable, "no answer in time"), now);
  }
  soonest_ = attempt_ends_;
  const auto later = [this](Time t) {
    if (t < soonest_) soonest_ = t;
  };
  for (std::size_t left = queued_.size(); left > 0; --left) {
    const Queued queued = queued_[0];
    queued_.pop_front();
    if (queued.read.deadline <= now) {
      complete(queued.read, Errc::timed_out);
    } else {
      later(queued.read.deadline);
      queued_.push_back(queued);
    }
  }
  Ring<PendingRead>& sent = receiver_.sent();
  std::size_t dead = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (!sent[i].dead && sent[i].deadline <= now) {
      complete(sent[i], Errc::timed_out);
      sent[i].dead = true;  // its reply, if it still comes, goes to the scrap buffer
    }
    if (sent[i].dead) {
      ++dead;
    } else {
      later(sent[i].deadline);
    }
  }
  if (dead > max_dead) return give_up(Error(Errc::connection_lost, "the peer is stuck"), now);
  if (state_ == State::closed) flush(now);
}

inline void ReadLane::fail(Errc why) {
  Ring<PendingRead>& sent = receiver_.sent();
  collect();
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (!sent[i].dead) complete(sent[i], why);
  }
  for (std::size_t i = 0; i < queued_.size(); ++i) complete(queued_[i].read, why);
  queued_.clear();
  close();
  soonest_ = Time::never;
}

/// The connection is lost or cannot be had: its requests end, and the next try is put off, the
/// longer the more tries have failed.
inline void ReadLane::give_up(const Error& why, Time now) {
  context_->last_failure = why;
  context_->last_failure.at_machine(destination_.peer).in("read lane");
  fail(state_ == State::ready ? Errc::connection_lost : Errc::machine_unreachable);
  const FabricOptions& options = context_->options;
  std::uint64_t wait = failures_ == 0 ? 0 : options.backoff_min_ms;
  for (std::uint32_t i = 1; i < failures_ && wait < options.backoff_max_ms; ++i) wait *= 2;
  if (wait > options.backoff_max_ms) wait = options.backoff_max_ms;
  retry_at_ = now + wait * nanoseconds_per_ms;
  ++failures_;
}

inline void ReadLane::listen_for(std::uint32_t events) noexcept {
  if (events == listening_) return;
  epoll_event event{};
  event.events = events;
  event.data.u32 = endpoint_;
  ::epoll_ctl(context_->epoll, listening_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_.get(), &event);
  listening_ = events;
}

inline void ReadLane::close() noexcept {
  // Removed by hand: closing would not do it where a forked process still holds the descriptor.
  if (listening_ != 0) ::epoll_ctl(context_->epoll, EPOLL_CTL_DEL, fd_.get(), nullptr);
  listening_ = 0;
  fd_.reset();
  state_ = State::closed;
  attempt_ends_ = Time::never;
  handshake_.reset();
  greeting_.clear();
  out_.clear();
  out_at_ = 0;
  receiver_.reset();
}

}  // namespace mitosis::tcp
