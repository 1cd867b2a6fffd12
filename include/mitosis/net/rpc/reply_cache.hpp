// SPDX-License-Identifier: MIT
// ReplyCache: what makes calls at-most-once across lost connections. World: user; thread-safe.
// A client has one call outstanding at a time and numbers its calls, so the server needs to keep
// one reply a client, and only of calls that must not be executed twice.
#pragma once

#include <mitosis/base/result.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::rpc {

/// Per client: the number of its last such call, and the reply once there is one. Bounded: the
/// longest unused client is forgotten; a repeated call of a forgotten client is refused rather than
/// executed, for it may have been already.
class ReplyCache {
 public:
  using Reply = std::vector<std::uint8_t>;
  explicit ReplyCache(std::size_t max_clients = 4096) : max_clients_(max_clients) {}

  /// Notes a client's session, at its start. `sent` is how many calls the client had sent before
  /// this session: of those a newly made entry knows nothing.
  void greet(std::uint64_t client, std::uint64_t sent) {
    const std::lock_guard lock(mutex_);
    touch(client, sent);
  }

  /// Asks to execute a call; `sent` as the session was greeted with. Nothing: execute it, then
  /// `finish`. A reply: it was executed before; send this. An error: it may not be executed
  /// (connection_lost: unknown whether it was before; timed_out: the first execution still runs;
  /// bad_message: an old number).
  [[nodiscard]] Result<std::optional<Reply>> begin(std::uint64_t client, std::uint64_t sent,
                                                   std::uint64_t request,
                                                   std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    Entry& entry = touch(client, sent);
    if (request < entry.last) return Error(Errc::bad_message, "a request number came again late");
    if (request > entry.last) {
      if (request <= entry.unknown_up_to) return unknown();
      entry.last = request;
      entry.reply.reset();
      return std::optional<Reply>();
    }
    // Executed before, perhaps still being executed by the lost connection's thread. The entry
    // may be forgotten while waiting, hence the look-up in the predicate.
    const auto answered = [&] {
      const auto found = clients_.find(client);
      return found == clients_.end() || found->second.last != request || found->second.reply;
    };
    if (!changed_.wait_for(lock, patience, answered)) return Error(Errc::timed_out);
    const auto found = clients_.find(client);
    if (found == clients_.end() || found->second.last != request) {
      return unknown();
    }
    return std::optional<Reply>(*found->second.reply);
  }

  /// Keeps the reply of a call that `begin` allowed.
  void finish(std::uint64_t client, std::uint64_t request, Reply reply) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = clients_.find(client);
      if (found == clients_.end() || found->second.last != request) return;
      found->second.reply = std::move(reply);
    }
    changed_.notify_all();
  }

  [[nodiscard]] std::size_t clients() const {
    const std::lock_guard lock(mutex_);
    return clients_.size();
  }

 private:
  struct Entry {
    std::uint64_t last = 0;           ///< request numbers start at 1
    std::uint64_t unknown_up_to = 0;  ///< calls up to this one may have been executed and forgotten
    std::optional<Reply> reply;
    std::list<std::uint64_t>::iterator age;
  };

  static Error unknown() {
    return Error(Errc::connection_lost, "it is unknown whether the call was executed");
  }
  Entry& touch(std::uint64_t client, std::uint64_t sent) {
    const auto found = clients_.find(client);
    if (found != clients_.end()) {
      ages_.splice(ages_.end(), ages_, found->second.age);
      return found->second;
    }
    if (clients_.size() >= max_clients_) {
      clients_.erase(ages_.front());
      ages_.pop_front();
    }
    Entry& entry = clients_[client];
    entry.unknown_up_to = sent;
    entry.age = ages_.insert(ages_.end(), client);
    return entry;
  }

  const std::size_t max_clients_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint64_t, Entry> clients_;
  std::list<std::uint64_t> ages_;  ///< least recently used first
};

}  // namespace mitosis::rpc
