// SPDX-License-Identifier: MIT
// Initiator and Responder: the two sides of the mutual authentication. World: user; no I/O.
// Both prove that they know the cluster secret, by an HMAC over both fresh nonces, both machines,
// the purpose and the client's name; the two proofs differ by a label, so neither can be reflected.
// The connecting side proves itself first: who merely connects learns nothing to guess on.
#pragma once

#include <sodium.h>

#include <mitosis/base/result.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/auth/secret.hpp>
#include <mitosis/net/auth/transcript.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mitosis::auth {

/// Who this machine is, towards others. The secret is shared by all connections of the agent.
struct Identity {
  MachineId machine = MachineId::none;
  std::shared_ptr<const Secret> secret;
};

/// Names a client across its reconnections, for at-most-once calls; read lanes need none.
struct ClientName {
  std::uint64_t id = 0;    ///< random
  std::uint64_t sent = 0;  ///< calls sent over its earlier connections
};

namespace detail {

inline Mac prove(const Secret& secret, Side side, const Hello& hello, const Challenge& challenge) {
  wire::Encoder transcript;
  write_transcript(transcript, side, hello, challenge);
  const std::vector<std::uint8_t> bytes = std::move(transcript).bytes();
  Mac mac{};
  static_assert(sizeof(mac) == Secret::mac_bytes);
  secret.mac(Bytes(bytes.data(), bytes.size()), mac.data());
  return mac;
}
inline bool same(const Mac& a, const Mac& b) noexcept {
  return sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}
inline Nonce fresh_nonce() noexcept {
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

}  // namespace detail

/// The connecting side. Call hello, answer, check, in this order, once each.
class Initiator {
 public:
  /// `expected` is the machine that should answer; none: any (then ask `peer()` afterwards).
  Initiator(Identity self, MachineId expected, Purpose purpose, ClientName client)
      : self_(std::move(self)), expected_(expected) {
    hello_.machine = self_.machine;
    hello_.purpose = purpose;
    hello_.client = client.id;
    hello_.sent = client.sent;
    hello_.nonce = detail::fresh_nonce();
  }
  [[nodiscard]] const Hello& hello() const noexcept { return hello_; }

  /// authentication_failed: another machine than the expected one answers.
  [[nodiscard]] Result<Proof> answer(const Challenge& challenge) {
    challenge_ = challenge;
    if (expected_ != MachineId::none && challenge.machine != expected_) {
      const std::string who = "an agent that says it is machine " +
                              std::to_string(static_cast<std::uint32_t>(challenge.machine)) +
                              " answers at this address";
      return Error(Errc::authentication_failed, who.c_str()).at_machine(expected_).in("connect");
    }
    return Proof{detail::prove(*self_.secret, Side::client, hello_, challenge_)};
  }
  /// Success: the peer knows the secret and is who it says.
  [[nodiscard]] Result<void> check(const Proof& proof) const {
    if (!detail::same(proof.mac, detail::prove(*self_.secret, Side::server, hello_, challenge_))) {
      return Error(Errc::authentication_failed).at_machine(challenge_.machine).in("connect");
    }
    return {};
  }
  [[nodiscard]] MachineId peer() const noexcept { return challenge_.machine; }

 private:
  Identity self_;
  MachineId expected_;
  Hello hello_;
  Challenge challenge_;
};

/// The listening side. Call challenge, then check.
class Responder {
 public:
  explicit Responder(Identity self) : self_(std::move(self)) {}

  [[nodiscard]] Challenge challenge(const Hello& hello) {
    hello_ = hello;
    challenge_.machine = self_.machine;
    challenge_.nonce = detail::fresh_nonce();
    return challenge_;
  }
  /// The server's own proof where the client's is right, else authentication_failed.
  [[nodiscard]] Result<Proof> check(const Proof& proof) const {
    if (!detail::same(proof.mac, detail::prove(*self_.secret, Side::client, hello_, challenge_))) {
      return Error(Errc::authentication_failed).at_machine(self_.machine).in("accept a connection");
    }
    return Proof{detail::prove(*self_.secret, Side::server, hello_, challenge_)};
  }
  /// What the client said; to be believed after `check` succeeded.
  [[nodiscard]] const Hello& hello() const noexcept { return hello_; }

 private:
  Identity self_;
  Hello hello_;
  Challenge challenge_;
};

}  // namespace mitosis::auth
