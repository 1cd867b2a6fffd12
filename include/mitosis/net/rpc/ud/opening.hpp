// SPDX-License-Identifier: MIT
// Opening: the calling side's handshake of a session over datagrams: each proves to the other that
// it is of the cluster, and a key for the session comes of it. World: user; no I/O and no clock.
#pragma once

#include <mitosis/net/auth/handshake.hpp>
#include <mitosis/net/rpc/ud/datagram.hpp>
#include <mitosis/net/wire/codec.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace mitosis::rpc::ud {

/// hello -> challenge -> proof -> welcome. `datagram` is what the peer is to hear now, again and
/// again until it has answered. One thread at a time.
class Opening {
 public:
  /// What the peer grants.
  struct Session {
    std::uint64_t number = 0;
    Seal seal;
    std::uint32_t datagram_bytes = 0;  ///< as the peer can take them
    std::uint32_t credits = 0;         ///< pieces of a request that may be on their way
  };

  /// `expected` none: any machine of the cluster. `datagram_bytes`: what this side can take.
  Opening(const auth::Identity& self, MachineId expected, auth::ClientName name,
          std::uint32_t datagram_bytes)
      : self_(self),
        datagram_bytes_(datagram_bytes),
        initiator_(self, expected, auth::Purpose::rpc, name) {
    randombytes_buf(&handshake_, sizeof handshake_);
  }

  [[nodiscard]] std::vector<std::uint8_t> datagram() const {
    Header header;
    header.call = handshake_;
    if (!proof_) {
      header.kind = Kind::open;
      header.window = datagram_bytes_;
      const std::vector<std::uint8_t> hello = wire::encode(initiator_.hello());
      return make_datagram(header, Bytes(hello.data(), hello.size()));
    }
    header.kind = Kind::proof;
    header.session = session_.number;
    const std::vector<std::uint8_t> proof = wire::encode(*proof_);
    return make_datagram(header, Bytes(proof.data(), proof.size()));
  }
  /// Whether the datagram belongs to this handshake.
  [[nodiscard]] bool fits(const Header& header) const noexcept { return header.call == handshake_; }
  /// True: there is another `datagram` to send now. An error: it is not whom it should be.
  [[nodiscard]] Result<bool> on_challenge(const Header& header, Bytes payload) {
    if (proof_) return false;  // a second copy
    const Result<auth::Challenge> challenge = wire::decode<auth::Challenge>(payload);
    if (!challenge.ok()) return false;
    Result<auth::Proof> proof = initiator_.answer(*challenge);
    if (!proof.ok()) return proof.error();
    proof_ = *proof;
    session_.number = header.session;
    return true;
  }
  /// True: the session is open. An error: it is not whom it should be.
  [[nodiscard]] Result<bool> on_welcome(const Header& header, Bytes datagram) {
    const Result<auth::Proof> theirs = wire::decode<auth::Proof>(payload_of(datagram));
    if (!proof_ || !theirs.ok() || header.session != session_.number) return false;
    if (const Result<void> checked = initiator_.check(*theirs); !checked.ok()) {
      return checked.error();
    }
    session_.seal = Seal(*self_.secret, proof_->mac, theirs->mac);
    if (!session_.seal.fits(datagram)) return false;
    if (header.window < min_datagram || header.total == 0) return false;
    session_.datagram_bytes = header.window;
    session_.credits = header.total;
    return true;
  }
  [[nodiscard]] const Session& session() const noexcept { return session_; }
  [[nodiscard]] MachineId peer() const noexcept { return initiator_.peer(); }

 private:
  auth::Identity self_;
  std::uint32_t datagram_bytes_;
  auth::Initiator initiator_;
  std::uint64_t handshake_ = 0;
  std::optional<auth::Proof> proof_;  ///< ours, once challenged
  Session session_;
};

}  // namespace mitosis::rpc::ud
