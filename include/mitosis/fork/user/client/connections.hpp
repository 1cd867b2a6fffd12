// SPDX-License-Identifier: MIT
// Connections: the agent sockets that this process has opened through the library. World: user.
// A forked child shares its parent's sockets, and would take the other's answers; a remote child
// has none at all. So each call first makes sure that the connection is this very process's own.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mitosis/fork/user/local/connect.hpp>
#include <mitosis/fork/user/local/spawn.hpp>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace mitosis::client {

/// How long opening waits for an agent that is too busy to accept.
inline constexpr std::chrono::milliseconds open_patience{5000};

/// A table of a few slots without locks, so that a fork in another thread finds it in order.
/// Thread-safe as a whole; one descriptor is used by one thread at a time.
class Connections {
 public:
  static constexpr std::size_t capacity = 16;

  /// Opens a connection; the returned descriptor is the caller's, to be given to `close`.
  Result<int> open() {
    Result<local::Channel> channel = local::connect(path(), open_patience);
    if (!channel) return channel.error();
    for (Slot& slot : slots_) {
      int expected = -1;
      if (!slot.fd.compare_exchange_strong(expected, channel->fd())) continue;
      slot.exits.clear();
      slot.owner.store(::getpid());
      return channel->release();
    }
    return Error(Errc::limit_exceeded, "16 agents are open already").in("open the local agent");
  }

  void close(int sd) noexcept {
    for (Slot& slot : slots_) {
      int expected = sd;
      if (sd >= 0 && slot.fd.compare_exchange_strong(expected, -1)) {
        ::close(sd);
        return;
      }
    }
  }

  /// The channel of `sd`, reconnected under the same number in a process that inherited it.
  Result<local::ChannelView> use(int sd) {
    for (Slot& slot : slots_) {
      if (sd < 0 || slot.fd.load() != sd) continue;
      const pid_t self = ::getpid();
      if (slot.owner.load() != self) {
        Result<local::Channel> fresh = local::connect(path(), open_patience);
        if (!fresh) return fresh.error();
        if (Result<void> placed = place(fresh->release(), sd); !placed) return placed.error();
        slot.owner.store(self);
        slot.exits.clear();
      }
      return local::ChannelView(sd);
    }
    return Error(Errc::invalid_argument, "not a descriptor that mitosis_open returned");
  }

  /// The next packet that answers a request; the ends of spawned children that come before it are
  /// kept for `next_exit`. A connection that fails is given up: see `abandon`.
  Result<local::Packet> receive(int sd, local::Deadline deadline) {
    for (;;) {
      Result<local::Packet> packet = local::ChannelView(sd).receive(deadline);
      if (!packet) {
        abandon(sd);
        return packet;
      }
      const auto exited = local::decode_packet<local::ChildExited>(Bytes(packet->bytes));
      if (!exited) return packet;
      for (Slot& slot : slots_) {
        if (slot.fd.load() == sd) slot.exits.push_back(*exited);
      }
    }
  }

  /// Sends a request and waits for its answer: a Reply, or the Error of a Failed.
  template <local::LocalMessage Reply, local::LocalMessage M>
  Result<Reply> call(int sd, const M& message, std::chrono::milliseconds patience) {
    const Result<local::ChannelView> channel = use(sd);
    if (!channel) return channel.error();
    const local::Deadline deadline = local::within(patience);
    const Result<void> sent = channel->send(message, deadline);
    if (!sent && sent.code() != Errc::connection_lost) {
      abandon(sd);
      return sent.error();
    }
    Result<local::Packet> packet = receive(sd, deadline);  // of a lost one: why, if that was told
    if (!packet) return sent ? packet.error() : sent.error();
    if (!sent) abandon(sd);
    if (!sent && !local::is_failure(Bytes(packet->bytes))) return sent.error();
    return local::decode_reply<Reply>(Bytes(packet->bytes));
  }

  /// The oldest end of a spawned child that has been received already.
  std::optional<local::ChildExited> next_exit(int sd) {
    for (Slot& slot : slots_) {
      if (sd < 0 || slot.fd.load() != sd || slot.exits.empty()) continue;
      const local::ChildExited oldest = slot.exits.front();
      slot.exits.erase(slot.exits.begin());
      return oldest;
    }
    return std::nullopt;
  }

  /// Ends the connection of `sd` but keeps the number: an answer that is still to come must not
  /// meet the next request. The next `use` connects anew.
  void abandon(int sd) noexcept {
    for (Slot& slot : slots_) {
      if (sd >= 0 && slot.fd.load() == sd) abandon(slot, sd);
    }
  }

  /// Where the agent is: $MITOSIS_SOCKET or the default; in a resumed child, whose environment is
  /// its parent's, where `move_to` said.
  [[nodiscard]] std::string path() const {
    return moved_to_[0] != '\0' ? moved_to_.data() : local::socket_path();
  }
  /// Another agent from now on. Cut at what a socket's address holds.
  void move_to(const char* path) noexcept {
    moved_to_ = {};
    for (std::size_t i = 0; i + 1 < moved_to_.size() && path[i] != '\0'; ++i) {
      moved_to_[i] = path[i];
    }
  }

  /// In a resumed child: the sockets stayed behind. Holds their numbers, so that no file that the
  /// child opens gets one; the next `use` connects to the agent of the machine it now runs on.
  void disown() noexcept {
    for (Slot& slot : slots_) {
      if (const int sd = slot.fd.load(); sd >= 0) abandon(slot, sd);
    }
  }

  /// Calls `visit(fd)` for each open connection.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_) {
      if (const int sd = slot.fd.load(); sd >= 0) visit(sd);
    }
  }

 private:
  struct Slot {
    std::atomic<int> fd{-1};
    std::atomic<pid_t> owner{0};
    std::vector<local::ChildExited> exits;  ///< received between a request and its answer
  };
  static void abandon(Slot& slot, int sd) noexcept {
    slot.owner.store(0);
    const int placeholder = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (placeholder >= 0) (void)place(placeholder, sd);
  }
  /// Moves a new descriptor to the number `sd`; it may have got it already, where that was free.
  static Result<void> place(int fresh, int sd) noexcept {
    if (fresh == sd) return {};
    const UniqueFd owned(fresh);
    if (::dup3(fresh, sd, O_CLOEXEC) >= 0) return {};
    return Error(Errc::system_call_failed, "dup3", errno).in("open the local agent");
  }
  std::array<Slot, capacity> slots_;
  std::array<char, sizeof(sockaddr_un::sun_path)> moved_to_ = {};
};

/// This process's.
inline Connections& connections() noexcept {
  static constinit Connections all;
  return all;
}

}  // namespace mitosis::client
