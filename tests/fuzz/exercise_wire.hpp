// SPDX-License-Identifier: MIT
// What the wire fuzzers run: every decoder and every receiver on arbitrary bytes. World: user.
// Shared by the libFuzzer target and the unit test that replays the corpus.
#pragma once

#include <mitosis/net/auth/client_handshake.hpp>
#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/tcp/lane_receiver.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::fuzz {

/// A message that decodes must encode to the same bytes: nothing in it was ignored or invented.
/// (But for Text fields, which end at a zero byte: those only have to decode again.)
template <class M>
void try_message(Bytes bytes) {
  const Result<M> message = wire::decode<M>(bytes);
  if (!message.ok()) {
    if (message.code() != Errc::bad_message) std::abort();
    return;
  }
  const std::vector<std::uint8_t> again = wire::encode(*message);
  const Bytes view(again.data(), again.size());
  if (again.size() != bytes.size() || !wire::decode<M>(view).ok()) std::abort();
  const bool same = std::equal(again.begin(), again.end(), bytes.begin());
  if (!same && M::type != ErrorReply::type) std::abort();
}
template <class... M>
void try_messages(Bytes bytes) {
  (try_message<M>(bytes), ...);
}

/// The connecting side of a handshake with a peer that sends these bytes.
inline void try_handshake(Bytes bytes) {
  static const auth::Identity self = [] {
    const std::uint8_t material[] = "a secret that the bytes do not know";
    return auth::Identity{MachineId{1}, std::make_shared<const auth::Secret>(
                                            std::move(auth::Secret::from(material)).value())};
  }();
  auth::ClientHandshake handshake(self, MachineId::none, auth::Purpose::rpc);
  while (bytes.size() >= wire::frame_header_bytes) {
    const Result<wire::FrameHeader> header = wire::parse_frame_header(
        bytes.sub(0, wire::frame_header_bytes), auth::max_handshake_payload);
    if (!header.ok()) return;
    bytes = bytes.sub(wire::frame_header_bytes);
    const Bytes payload = bytes.sub(0, header->length);
    bytes = bytes.sub(header->length);
    const auto step = handshake.on_frame({*header, {payload.begin(), payload.end()}});
    if (!step.ok()) return;
    if (step->done) std::abort();  // trust without the secret
  }
}

/// A read lane whose server sends these bytes; the first byte chooses what is outstanding.
inline void try_lane(Bytes bytes) {
  if (bytes.empty()) return;
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return;
  const UniqueFd ours(fds[0]);
  {
    const UniqueFd theirs(fds[1]);
    static_cast<void>(!::send(theirs.get(), bytes.data() + 1, bytes.size() - 1, MSG_NOSIGNAL));
  }
  tcp::Ring<ReadCompletion> done;
  std::vector<std::uint8_t> scrap(64);
  tcp::LaneReceiver receiver(done, scrap);
  const std::size_t count = 1 + bytes[0] % 4;
  std::vector<std::vector<std::uint8_t>> memory;  // exact sizes: the sanitizer sees a byte too many
  for (std::size_t i = 0; i < count; ++i) {
    memory.emplace_back(i % 2 == 0 ? 48 : 20'000);
    tcp::PendingRead read;
    read.into = memory.back().data();
    read.bytes = static_cast<std::uint32_t>(memory.back().size());
    read.cookie = i;
    read.dead = (bytes[0] >> (4 + i) & 1) != 0;
    receiver.expect(read);
  }
  while (receiver.receive(ours.get()) == tcp::LaneReceiver::Outcome::drained) {
    if (receiver.sent().empty()) break;
  }
  if (done.size() > count) std::abort();
}

inline void run(Bytes bytes) {
  try_messages<auth::Hello, auth::Challenge, auth::Proof, ErrorReply, rpc::Nil, rpc::NilReply,
               rpc::QueryDescriptor, rpc::DescriptorHead, rpc::DescriptorPart, rpc::FallbackRead,
               rpc::FallbackReply, rpc::Reclaim, rpc::ReclaimReply, rpc::RenewLease,
               rpc::LeaseReply, rpc::Bye>(bytes);
  static_cast<void>(wire::parse_frame_header(bytes.sub(0, wire::frame_header_bytes)));
  try_handshake(bytes);
  try_lane(bytes);
}

}  // namespace mitosis::fuzz
