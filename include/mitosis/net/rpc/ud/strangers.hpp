// SPDX-License-Identifier: MIT
// Strangers: who is in the handshake of a session over datagrams. World: user; no I/O.
#pragma once

#include <mitosis/net/auth/handshake.hpp>
#include <mitosis/net/rpc/ud/way.hpp>

#include <algorithm>
#include <cstdint>
#include <list>

namespace mitosis::rpc::ud {

struct Stranger {
  Way way;
  std::uint64_t handshake = 0;  ///< drawn by the other side
  std::uint64_t session = 0;    ///< drawn by us: what its session will be called
  std::uint32_t datagram_bytes = 0;
  auth::Responder responder;
  auth::Challenge challenge;
};

/// A bounded number of them: the oldest makes room for one more, or whoever merely sends packets
/// could keep the cluster's machines out.
class Strangers {
 public:
  explicit Strangers(std::size_t most) noexcept : most_(most) {}

  /// A new one, or the same as before where its `open` came twice. Valid until the next call.
  Stranger& greet(const auth::Identity& self, const Way& way, std::uint64_t handshake,
                  std::uint32_t datagram_bytes, const auth::Hello& hello) {
    for (Stranger& known : all_) {
      if (known.handshake == handshake && known.way == way) return known;
    }
    if (all_.size() >= most_) all_.pop_front();
    Stranger& stranger =
        all_.emplace_back(Stranger{way, handshake, 0, datagram_bytes, auth::Responder(self), {}});
    randombytes_buf(&stranger.session, sizeof stranger.session);
    stranger.challenge = stranger.responder.challenge(hello);
    return stranger;
  }
  /// Null where there is none.
  [[nodiscard]] Stranger* find(const Way& way, std::uint64_t handshake,
                               std::uint64_t session) noexcept {
    for (Stranger& known : all_) {
      if (known.session == session && known.handshake == handshake && known.way == way) {
        return &known;
      }
    }
    return nullptr;
  }
  void forget(const Stranger& stranger) {
    all_.remove_if([&stranger](const Stranger& known) { return &known == &stranger; });
  }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

 private:
  std::size_t most_;
  std::list<Stranger> all_;  ///< oldest first
};

}  // namespace mitosis::rpc::ud
