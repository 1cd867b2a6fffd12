// SPDX-License-Identifier: MIT
// What the datagram fuzzer runs: both sides of a session over datagrams on arbitrary packets, also
// on such as carry the session's right seal: a member of the cluster may be broken. World: user.
#pragma once

#include <mitosis/net/rpc/ud/client_session.hpp>
#include <mitosis/net/rpc/ud/server_sessions.hpp>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::fuzz {

/// A session that has been opened, with all that its ends know.
class DatagramPair {
 public:
  DatagramPair()
      : server({MachineId{0}, secret()}, {}),
        client({MachineId{1}, secret()}, MachineId{0}, {7, 0}, small()) {
    client.open(Time{1});
    pass();
    if (client.state() != rpc::ud::ClientSession::State::ready) std::abort();
  }
  /// Until neither has anything to send.
  void pass() {
    for (bool more = true; more;) {
      more = false;
      for (auto& bytes : client.take_output()) {
        more = true;
        learn(view(bytes));
        server.on_datagram({}, view(bytes), Time{2});
      }
      for (auto& out : server.take_output()) {
        more = true;
        learn(view(out.bytes));
        client.on_datagram(view(out.bytes), Time{2});
      }
    }
  }
  static Bytes view(const std::vector<std::uint8_t>& bytes) { return {bytes.data(), bytes.size()}; }

  rpc::ud::ServerSessions server;
  rpc::ud::ClientSession client;
  std::uint64_t session = 0;
  std::uint64_t handshake = 0;
  rpc::ud::Seal seal;

 private:
  static rpc::ud::ClientOptions small() {
    rpc::ud::ClientOptions options;
    options.max_reply = 1 << 20;  // or most of the time goes to making room for lies
    return options;
  }
  static std::shared_ptr<const auth::Secret> secret() {
    static const auto shared = [] {
      const std::uint8_t material[] = "a secret of the whole cluster";
      return std::make_shared<const auth::Secret>(std::move(auth::Secret::from(material)).value());
    }();
    return shared;
  }
  void learn(Bytes datagram) {
    const auto header = rpc::ud::parse_datagram(datagram);
    if (!header) std::abort();
    const Bytes payload = rpc::ud::payload_of(datagram);
    if (header->kind == rpc::ud::Kind::open) handshake = header->call;
    if (header->kind == rpc::ud::Kind::proof) {
      session = header->session;
      ours_ = wire::decode<auth::Proof>(payload)->mac;
    }
    if (header->kind == rpc::ud::Kind::welcome) {
      seal = rpc::ud::Seal(*secret(), ours_, wire::decode<auth::Proof>(payload)->mac);
    }
  }
  auth::Mac ours_{};
};

/// Packets, each with two bytes of length and one that says what it is: bit 0 to the server (else
/// to the client), bit 1 with the session's name, bit 2 with its seal.
inline void run_datagrams(Bytes bytes) {
  DatagramPair pair;
  pair.client.call(1, std::vector<std::uint8_t>(3000, 1), Time{3});
  pair.pass();
  for (auto& call : pair.server.take_calls()) {
    pair.server.reply(call.session, call.call, std::vector<std::uint8_t>(60'000, 2), Time{4});
  }
  static_cast<void>(pair.server.take_output());  // lost: the client still waits
  while (bytes.size() >= 3) {
    const std::size_t length = std::size_t{bytes[0]} | std::size_t{bytes[1]} << 8;
    const std::uint8_t how = bytes[2];
    const Bytes given = bytes.sub(3, length % (rpc::ud::max_datagram + 64));
    bytes = bytes.sub(3 + given.size());
    std::vector<std::uint8_t> packet(given.begin(), given.end());
    if (packet.size() >= rpc::ud::header_bytes) {
      if ((how & 2) != 0) rpc::ud::detail::store(packet.data() + 8, pair.session);
      if ((how & 4) != 0) pair.seal.put(MutableBytes(packet.data(), packet.size()));
    }
    if ((how & 1) != 0) {
      pair.server.on_datagram({}, DatagramPair::view(packet), Time{5});
    } else {
      pair.client.on_datagram(DatagramPair::view(packet), Time{5});
    }
    if (pair.server.take_output().size() > 66 || pair.client.take_output().size() > 66) {
      std::abort();  // one packet makes no more than a window of others
    }
    for (const auto& call : pair.server.take_calls()) {
      if (call.call <= 1) std::abort();  // executed twice
    }
    if (pair.server.sessions() > 1) std::abort();  // trust without the secret
  }
}

}  // namespace mitosis::fuzz
