// SPDX-License-Identifier: MIT
// FakeAgent: the agent's half of a prepare, in a thread of the test. World: user (tests).
// It checks parents and takes shadows as the agent does, and can be told to refuse, to be late with
// a child's end before an answer, or to die.
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "capture_program.hpp"

namespace mitosis::capture::test {

class FakeAgent {
 public:
  struct Shadow {
    pid_t pid = 0;
    local::ShadowReady ready;
    local::ShadowFacts facts;
  };
  std::atomic<bool> refuse{false};        ///< prepares
  std::atomic<bool> events_first{false};  ///< a ChildExited before each answer
  std::atomic<int> prepares{0}, nils{0};

  /// Listens, and tells the process (and those it forks) by $MITOSIS_SOCKET.
  FakeAgent() : wake_(::eventfd(0, EFD_CLOEXEC)) {
    const std::string path = folder_.file("agent.sock");
    auto listening = local::listen(path);
    if (!listening) return;
    listening_ = std::move(*listening);
    ::setenv("MITOSIS_SOCKET", path.c_str(), 1);
    thread_ = std::thread([this] { run(); });
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;
  ~FakeAgent() { die(); }

  /// Ends the thread and closes all connections.
  void die() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof(one));
    thread_.join();
    connections_.clear();
    listening_.reset();
  }
  /// The next shadow, or none within ten seconds.
  std::optional<Shadow> take_shadow() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !shadows_.empty(); })) {
      return std::nullopt;
    }
    Shadow shadow = std::move(shadows_.front());
    shadows_.erase(shadows_.begin());
    return shadow;
  }
  /// The parent of the last prepare, as checked; once.
  Result<ParentFacts> checked() {
    const std::lock_guard lock(mutex_);
    if (!checked_) return Error(Errc::unknown_handler);
    return std::move(*checked_);
  }

 private:
  void run() {
    for (;;) {
      std::vector<pollfd> ready = {{wake_.get(), POLLIN, 0}, {listening_.get(), POLLIN, 0}};
      for (const local::Channel& c : connections_) ready.push_back({c.fd(), POLLIN, 0});
      if (::poll(ready.data(), ready.size(), -1) < 0) continue;
      if (ready[0].revents != 0) return;
      for (std::size_t i = connections_.size(); i-- > 0;) {
        if (ready[i + 2].revents != 0 && !serve(connections_[i])) {
          connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
        }
      }
      if (ready[1].revents != 0) {
        if (auto accepted = local::accept(listening_.get())) {
          connections_.push_back(std::move(*accepted));
        }
      }
    }
  }

  template <local::LocalMessage M>
  void answer(const local::Channel& to, const M& message) {
    const auto soon = local::within(std::chrono::seconds(5));
    if (events_first) (void)to.send(local::ChildExited{4711, 256}, soon);
    (void)to.send(message, soon);
  }

  bool serve(const local::Channel& from) {
    auto packet = from.receive(local::within(std::chrono::seconds(5)));
    if (!packet) return false;
    const Bytes bytes(packet->bytes);
    if (const auto prepare = local::decode_packet<local::Prepare>(bytes)) {
      ++prepares;
      auto facts = check_parent(packet->sender.pid, prepare->own_fds);
      const std::lock_guard lock(mutex_);
      if (facts) checked_.emplace(std::move(*facts));
      if (refuse || !facts) {
        answer(from, local::Failed{facts ? Error(Errc::handler_in_use) : facts.error()});
      } else {
        local::Prepared prepared;
        std::memset(prepared.key.bytes, 0xab, sizeof(prepared.key.bytes));
        prepared.generation = Generation{prepare->nonce};
        answer(from, prepared);
      }
    } else if (auto ready = local::decode_packet<local::ShadowReady>(bytes)) {
      Shadow shadow;
      shadow.pid = packet->sender.pid;
      shadow.ready = std::move(*ready);
      if (shadow.ready.facts.size() == sizeof(shadow.facts)) {
        std::memcpy(&shadow.facts, shadow.ready.facts.data(), sizeof(shadow.facts));
      }
      const std::lock_guard lock(mutex_);
      shadows_.push_back(std::move(shadow));
      changed_.notify_all();
    } else {
      ++nils;
      answer(from, local::Done{});
    }
    return true;
  }

  Folder folder_;
  UniqueFd wake_, listening_;
  std::vector<local::Channel> connections_;  // the thread's
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Shadow> shadows_;
  std::optional<ParentFacts> checked_;
};

}  // namespace mitosis::capture::test
