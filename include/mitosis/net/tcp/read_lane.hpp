// SPDX-License-Identifier: MIT
// ReadLane: one endpoint of a fabric: a connection to one peer for one kind of reads. World: user.
// Connects by itself at the first request, authenticates, sends, receives, finds time-outs; never
// blocks. Every request that is enqueued completes into the context's queue exactly once.
#pragma once

#include <mitosis/net/backoff.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/fabric_context.hpp>
#include <mitosis/net/tcp/lane_greeting.hpp>
#include <mitosis/net/tcp/lane_receiver.hpp>
#include <mitosis/net/tcp/out_buffer.hpp>
#include <mitosis/net/tcp/polled_socket.hpp>
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
      : context_(&context),
        endpoint_(endpoint),
        receiver_(context.done, context.scrap),
        backoff_(context.options.backoff_min_ms * nanoseconds_per_ms,
                 context.options.backoff_max_ms * nanoseconds_per_ms) {}
  ReadLane(const ReadLane&) = delete;
  ReadLane& operator=(const ReadLane&) = delete;
  ~ReadLane() { close(); }

  /// Points the lane at a destination. It must have no live request.
  void bind(Destination destination) noexcept {
    close();
    destination_ = destination;
    backoff_.forget();
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
  [[nodiscard]] bool has_socket() const noexcept { return static_cast<bool>(socket_); }
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
  void close() noexcept;

  FabricContext* context_;
  std::uint32_t endpoint_;
  Destination destination_;
  State state_ = State::closed;
  PolledSocket socket_;
  std::optional<LaneGreeting> greeting_;
  Ring<Queued> queued_;         ///< not sent yet
  LaneReceiver receiver_;       ///< and what was sent
  OutBuffer out_;               ///< serialised
  std::uint32_t live_ = 0;      ///< requests that have not completed
  std::uint32_t finished_ = 0;  ///< completions that `take_finished` has not told
  bool just_sent_ = false;
  Time soonest_ = Time::never;
  Backoff backoff_;  ///< of connecting; a read that succeeds ends it
  Time attempt_ends_ = Time::never;
};

// -- connecting -----------------------------------------------------------------------------------

inline void ReadLane::connect(Time now) {
  const std::optional<Address> address = context_->book->find(destination_.peer);
  if (!address) return give_up(Error(Errc::machine_unknown), now);
  Result<UniqueFd> fd = start_connect(*address);
  if (!fd.ok()) return give_up(fd.error(), now);
  socket_.open(std::move(fd).value(), context_->epoll, endpoint_);
  state_ = State::connecting;
  attempt_ends_ = now + context_->options.connect_ms * nanoseconds_per_ms;
  if (attempt_ends_ < soonest_) soonest_ = attempt_ends_;
  socket_.listen_for(EPOLLIN | EPOLLOUT);
}

inline void ReadLane::shake_hands(Time now) {
  Result<auth::ClientHandshake::Step> step = greeting_->receive(socket_.get());
  if (!step.ok()) return give_up(step.error(), now);
  out_.put(step->send);
  if (step->done) {
    greeting_.reset();
    state_ = State::ready;
    attempt_ends_ = Time::never;
  }
  send_out(now);
}

// -- sending and receiving ------------------------------------------------------------------------

inline void ReadLane::flush(Time now) {
  if (state_ == State::closed && !queued_.empty()) {
    const Time again = backoff_.again_at();
    if (now >= again) {
      connect(now);
    } else if (again < soonest_) {
      soonest_ = again;
    }
  } else if (state_ == State::ready) {
    send_out(now);
  }
}

/// Serialises queued requests into the empty send buffer.
inline void ReadLane::load() {
  while (!queued_.empty() && out_.size() < send_batch * sizeof(LaneRequest)) {
    const Queued& queued = queued_[0];
    LaneRequest record;
    record.target_number = queued.target.number;
    record.bytes = queued.read.bytes;
    record.target_key = queued.target.key;
    record.address = queued.address;
    record.sequence = receiver_.expect(queued.read);
    out_.put(&record, sizeof(record));
    queued_.pop_front();
  }
}

/// False where the connection broke.
inline bool ReadLane::send_out(Time now) {
  just_sent_ = receiver_.sent().empty();
  for (;;) {
    if (out_.empty() && state_ == State::ready) load();
    if (out_.empty()) break;
    const OutBuffer::Outcome outcome = out_.send(socket_.get());
    if (outcome == OutBuffer::Outcome::full) {
      socket_.listen_for(EPOLLIN | EPOLLOUT);
      return true;
    }
    if (outcome == OutBuffer::Outcome::broken) {
      give_up(Error(Errc::connection_lost, "send", errno), now);
      return false;
    }
  }
  socket_.listen_for(EPOLLIN);
  return true;
}

inline void ReadLane::receive_replies(Time now) {
  const std::size_t outstanding = receiver_.sent().size();
  const LaneReceiver::Outcome outcome = receiver_.receive(socket_.get());
  if (receiver_.sent().size() < outstanding) backoff_.works();
  if (outcome == LaneReceiver::Outcome::broken) {
    give_up(Error(Errc::connection_lost, "the peer closed or broke a read lane"), now);
  }
}

inline void ReadLane::on_ready(std::uint32_t events, Time now) {
  if (state_ == State::connecting) {
    const int error = connect_error(socket_.get());
    if (error != 0 || (events & (EPOLLERR | EPOLLHUP)) != 0) {
      return give_up(Error(Errc::machine_unreachable, "connect", error), now);
    }
    if ((events & EPOLLOUT) == 0) return;
    greeting_.emplace(context_->identity, destination_);
    out_.clear();
    out_.put(greeting_->start());
    state_ = State::handshaking;
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
  queued_.keep_if([&](const Queued& queued) {
    const bool overdue = queued.read.deadline <= now;
    overdue ? complete(queued.read, Errc::timed_out) : later(queued.read.deadline);
    return !overdue;
  });
  Ring<PendingRead>& sent = receiver_.sent();
  std::size_t dead = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (!sent[i].dead && sent[i].deadline <= now) {
      complete(sent[i], Errc::timed_out);
      sent[i].dead = true;  // its reply, if it still comes, goes to the scrap buffer
    }
    sent[i].dead ? void(++dead) : later(sent[i].deadline);
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
  backoff_.failed(now);
}

inline void ReadLane::close() noexcept {
  socket_.close();
  state_ = State::closed;
  attempt_ends_ = Time::never;
  greeting_.reset();
  out_.clear();
  receiver_.reset();
}

}  // namespace mitosis::tcp
