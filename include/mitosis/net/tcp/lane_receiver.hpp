// SPDX-License-Identifier: MIT
// LaneReceiver: takes the replies of one read lane in, straight to where they belong.
// World: user. Because replies come in order, it knows what comes next: headers and small payloads
// go through a staging buffer, large payloads (and a lone reply) directly into the request's
// memory.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <mitosis/base/errc.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/tcp/lane_wire.hpp>
#include <mitosis/net/tcp/ring.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::tcp {

/// A read that waits for its reply.
struct PendingRead {
  std::uint8_t* into = nullptr;
  std::uint32_t bytes = 0;
  std::uint32_t received = 0;
  std::uint64_t cookie = 0;
  Time deadline = Time::never;
  bool dead = false;  ///< completed already (timed out): `into` must not be touched any more
};

/// Owns the queue of sent requests. Never writes outside a live request's memory, and trusts no
/// length, order or status of the peer.
class LaneReceiver {
 public:
  /// What `receive` came to; broken: the peer closed or broke the format.
  enum class Outcome : std::uint8_t { drained, broken };

  LaneReceiver(Ring<ReadCompletion>& done, std::vector<std::uint8_t>& scrap) noexcept
      : done_(&done), scrap_(&scrap) {}

  /// A request was sent; the sequence number that it must carry.
  std::uint64_t expect(const PendingRead& read) {
    sent_.push_back(read);
    return next_sequence_++;
  }
  /// Reads what the socket has, until nothing is outstanding or the socket is drained.
  Outcome receive(int fd);
  /// Forgets everything, for a new connection.
  void reset() noexcept {
    sent_.clear();
    next_sequence_ = head_sequence_ = 0;
    staged_ = part_left_ = 0;
  }
  /// The requests that are outstanding, oldest first.
  [[nodiscard]] Ring<PendingRead>& sent() noexcept { return sent_; }
  /// Requests that got their reply since the last call (timed-out ones were counted then).
  [[nodiscard]] std::uint32_t take_finished() noexcept { return std::exchange(finished_, 0); }

 private:
  static constexpr std::size_t staging_bytes = std::size_t{64} * 1024;
  static constexpr std::uint32_t direct_bytes = 16 * 1024;  ///< parts from here on bypass staging

  [[nodiscard]] std::uint32_t next_part() const noexcept;
  bool take(std::size_t got, const iovec* parts, bool lone);
  bool take_staged();
  bool take_header(const std::uint8_t* raw);
  void advance(std::uint32_t bytes) noexcept {
    sent_[0].received += bytes;
    part_left_ -= bytes;
    if (part_left_ == 0 && sent_[0].received == sent_[0].bytes) finish(Errc::ok);
  }
  void finish(Errc status) {
    if (!sent_[0].dead) {
      done_->push_back({sent_[0].cookie, status});
      ++finished_;
    }
    sent_.pop_front();
    ++head_sequence_;
  }

  Ring<PendingRead> sent_;
  Ring<ReadCompletion>* done_;
  std::vector<std::uint8_t>* scrap_;
  std::vector<std::uint8_t> staging_;
  std::size_t staged_ = 0;           ///< bytes in staging_
  std::uint32_t part_left_ = 0;      ///< bytes of the current part still to come; 0: at a header
  std::uint64_t head_sequence_ = 0;  ///< of sent_[0]
  std::uint64_t next_sequence_ = 0;
  std::uint32_t finished_ = 0;
};

/// The length of the part after the current one (or of the one whose header is next), 0: none.
inline std::uint32_t LaneReceiver::next_part() const noexcept {
  const PendingRead& front = sent_[0];
  const std::uint32_t after = front.bytes - front.received - part_left_;
  if (after > 0) return part_bytes(after);
  return sent_.size() > 1 ? part_bytes(sent_[1].bytes) : 0;
}

inline LaneReceiver::Outcome LaneReceiver::receive(int fd) {
  if (staging_.empty()) staging_.resize(staging_bytes);
  if (sent_.empty()) {  // nothing is due: the peer closed, or sends what nobody asked for
    std::uint8_t probe = 0;
    const ssize_t got = ::recv(fd, &probe, 1, MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? Outcome::drained : Outcome::broken;
  }
  while (!sent_.empty()) {
    const PendingRead& front = sent_[0];
    const std::uint32_t next = next_part();
    const std::size_t stage = next >= direct_bytes ? sizeof(PartHeader) : staging_.size();
    iovec parts[2];
    std::size_t count = 0;
    bool lone = false;
    if (part_left_ > 0) {
      const bool fits = !front.dead || part_left_ <= scrap_->size();
      parts[count++] = front.dead ? iovec{scrap_->data(), fits ? part_left_ : scrap_->size()}
                                  : iovec{front.into + front.received, part_left_};
      if (fits && next > 0) parts[count++] = iovec{staging_.data(), stage};
    } else {
      lone = staged_ == 0 && sent_.size() == 1 && !front.dead &&
             front.bytes - front.received <= max_part;
      if (lone) {
        parts[count++] = iovec{staging_.data(), sizeof(PartHeader)};
        parts[count++] = iovec{front.into + front.received, next};
      } else {
        parts[count++] = iovec{staging_.data() + staged_, stage - staged_};
      }
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return Outcome::drained;
    if (got <= 0) return Outcome::broken;
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < count; ++i) wanted += parts[i].iov_len;
    if (!take(static_cast<std::size_t>(got), parts, lone)) return Outcome::broken;
    if (static_cast<std::size_t>(got) < wanted) return Outcome::drained;
  }
  return Outcome::drained;
}

/// Accounts for `got` bytes that were received into `parts`.
inline bool LaneReceiver::take(std::size_t got, const iovec* parts, bool lone) {
  if (lone && got > sizeof(PartHeader)) {
    const std::size_t payload = got - sizeof(PartHeader);
    if (!take_header(staging_.data())) return false;
    // After an error nothing follows: no other request is outstanding.
    if (part_left_ == 0) return false;
    advance(static_cast<std::uint32_t>(payload));
    return true;
  }
  if (part_left_ > 0) {
    const std::size_t payload = got < parts[0].iov_len ? got : parts[0].iov_len;
    advance(static_cast<std::uint32_t>(payload));
    staged_ = got - payload;
  } else {
    staged_ += got;
  }
  return take_staged();
}

/// Consumes the staging buffer but for a header's beginning.
inline bool LaneReceiver::take_staged() {
  std::size_t at = 0;
  while (at < staged_) {
    const std::size_t left = staged_ - at;
    if (part_left_ > 0) {
      const auto bytes = static_cast<std::uint32_t>(left < part_left_ ? left : part_left_);
      const PendingRead& front = sent_[0];
      if (!front.dead) std::memcpy(front.into + front.received, staging_.data() + at, bytes);
      advance(bytes);
      at += bytes;
    } else if (left >= sizeof(PartHeader)) {
      if (!take_header(staging_.data() + at)) return false;
      at += sizeof(PartHeader);
    } else {
      break;
    }
  }
  staged_ -= at;
  if (staged_ > 0) std::memmove(staging_.data(), staging_.data() + at, staged_);
  return true;
}

/// False where the header is not one that the oldest request may get.
inline bool LaneReceiver::take_header(const std::uint8_t* raw) {
  PartHeader header;
  std::memcpy(&header, raw, sizeof(header));
  if (sent_.empty() || header.sequence != head_sequence_) return false;
  if (header.status > static_cast<std::uint32_t>(Errc::last)) return false;
  if (header.status != static_cast<std::uint32_t>(Errc::ok)) {
    if (header.bytes != 0) return false;
    finish(static_cast<Errc>(header.status));
    return true;
  }
  if (header.bytes != part_bytes(sent_[0].bytes - sent_[0].received)) return false;
  part_left_ = header.bytes;
  return true;
}

}  // namespace mitosis::tcp
