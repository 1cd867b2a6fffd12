// SPDX-License-Identifier: MIT
// ClientHandshake: the connecting side's frames, one at a time. World: user; no I/O, so that the
// blocking RPC client and the non-blocking read lanes go through the same steps.
#pragma once

#include <mitosis/net/auth/handshake.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::auth {

/// No frame of a handshake has a longer payload; before the proofs are checked a peer gets no more
/// memory than this.
inline constexpr std::uint32_t max_handshake_payload = 1024;

/// Send `start()`, then give every received frame to `on_frame` until it says done.
class ClientHandshake {
 public:
  struct Step {
    std::vector<std::uint8_t> send;  ///< may be empty
    bool done = false;
  };

  ClientHandshake(const Identity& self, MachineId expected, Purpose purpose, ClientName client = {})
      : initiator_(self, expected, purpose, client) {}

  [[nodiscard]] std::vector<std::uint8_t> start() const {
    return wire::make_frame(initiator_.hello());
  }
  /// After an error the connection must be dropped.
  [[nodiscard]] Result<Step> on_frame(const wire::Frame& frame) {
    if (frame.is<ErrorReply>()) {
      Result<ErrorReply> reply = frame.as<ErrorReply>();
      if (!reply.ok()) return reply.error();
      if (reply->error.code == Errc::ok) return Error(Errc::bad_message, "an error that is none");
      return reply->error;
    }
    if (!answered_) {
      Result<Challenge> challenge = frame.as<Challenge>();
      if (!challenge.ok()) return challenge.error();
      Result<Proof> proof = initiator_.answer(*challenge);
      if (!proof.ok()) return proof.error();
      answered_ = true;
      return Step{wire::make_frame(*proof), false};
    }
    Result<Proof> proof = frame.as<Proof>();
    if (!proof.ok()) return proof.error();
    if (Result<void> checked = initiator_.check(*proof); !checked.ok()) return checked.error();
    return Step{{}, true};
  }
  [[nodiscard]] MachineId peer() const noexcept { return initiator_.peer(); }

 private:
  Initiator initiator_;
  bool answered_ = false;
};

}  // namespace mitosis::auth
