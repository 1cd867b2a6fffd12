// SPDX-License-Identifier: MIT
// What the module asks of another machine's agent: to be let in, a descriptor, a lease, pages.
// World: kernel. The shim has connected, and has set how long all of it may take.
#pragma once

#include <mitosis/fork/kernel/agent_messages.hpp>
#include <mitosis/fork/kernel/wire.hpp>
#include <mitosis/mem/descriptor/records.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/net/auth/transcript.hpp>
#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/tcp/lane_wire.hpp>

#include <cstdint>

namespace mitosis::kernel {

inline auth::Mac prove(auth::Side side, const auth::Hello& hello,
                       const auth::Challenge& challenge) noexcept {
  std::uint8_t bytes[256];
  FixedEncoder transcript{MutableBytes(bytes)};
  auth::write_transcript(transcript, side, hello, challenge);
  const Bytes all = std::move(transcript).bytes();
  auth::Mac mac{};
  static_assert(sizeof mac == MITOSIS_MAC_BYTES);
  if (all.empty() || mitosis_shim_mac(all.data(), all.size(), mac.data()) != 0) mac = {};
  return mac;
}
/// In the same time, whatever is told. Zeros are no proof: so looks one that could not be made.
inline bool is_proof(const auth::Mac& told, const auth::Mac& right) noexcept {
  unsigned difference = 0, some = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    difference |= static_cast<unsigned>(told[i] ^ right[i]);
    some |= right[i];
  }
  return difference == 0 && some != 0;
}

/// Both prove that they have the cluster's secret. -EACCES: one has not, or another machine than
/// `expected` (none: any) answers.
inline int greet(mitosis_socket* socket, auth::Purpose purpose, MachineId expected) noexcept {
  Wire wire(socket);
  auth::Hello hello;
  hello.machine = MachineId{mitosis_shim_machine()};
  hello.purpose = purpose;
  mitosis_shim_random(&hello.client, sizeof hello.client);
  mitosis_shim_random(hello.nonce.data(), hello.nonce.size());
  auth::Challenge challenge;
  int error = wire.send(hello);
  if (error == 0) error = wire.receive(challenge);
  if (error != 0) return error;
  if (expected != MachineId::none && challenge.machine != expected) {
    mitosis_shim_say("another machine answers at this address");
    return -errno_access;
  }
  auth::Proof proof{prove(auth::Side::client, hello, challenge)};
  error = wire.send(proof);
  if (error == 0) error = wire.receive(proof);
  if (error != 0) return error;
  if (is_proof(proof.mac, prove(auth::Side::server, hello, challenge))) return 0;
  mitosis_shim_say("the other machine does not have the secret");
  return -errno_access;
}

/// One call and its reply, on a session where none was made before under `number`.
template <class Request, class Reply>
int call(mitosis_socket* socket, std::uint64_t number, const Request& request,
         Reply& reply) noexcept {
  Wire wire(socket);
  const int error = wire.send(request, number);
  return error != 0 ? error : wire.receive(reply, number);
}

namespace detail {

/// A big descriptor may take as long as it goes on: each `max_part` has a call's time.
inline int receive_parts(mitosis_socket* socket, std::uint64_t number, std::uint8_t* into,
                         std::uint64_t total) noexcept {
  Wire wire(socket);
  for (std::uint64_t at = 0; at < total;) {
    wire::FrameHeader header;
    std::uint8_t raw[block_head_bytes];
    BlockHead head;
    int error = wire.receive_header(header, rpc::max_part + block_head_bytes);
    if (error != 0) return error;
    if (header.type != static_cast<std::uint16_t>(MessageType::descriptor_part) ||
        header.request != number || header.length <= sizeof raw) {
      return -errno_protocol;
    }
    error = wire.receive_bytes(raw, sizeof raw);
    if (error != 0) return error;
    if (!Wire::decode(Bytes(raw), head) || head.bytes != header.length - sizeof raw ||
        head.bytes > total - at) {
      return -errno_protocol;
    }
    error = wire.receive_bytes(into + at, head.bytes);
    if (error != 0) return error;
    if (at / rpc::max_part != (at + head.bytes) / rpc::max_part) mitosis_shim_go_on(socket);
    at += head.bytes;
  }
  return 0;
}

}  // namespace detail

/// `into.bytes` is the caller's to free.
inline int query(mitosis_socket* socket, std::uint64_t number, HandlerId handler,
                 const AuthKey& key, mitosis_fetched& into) noexcept {
  DescriptorHead head;
  int error = call(socket, number, rpc::QueryDescriptor{handler, key}, head);
  if (error != 0) return error;
  if (head.total_bytes == 0 || head.total_bytes > rpc::max_descriptor) return -errno_protocol;
  auto* bytes = static_cast<std::uint8_t*>(mitosis_shim_allocate(head.total_bytes));
  if (bytes == nullptr) return -errno_no_memory;
  error = detail::receive_parts(socket, number, bytes, head.total_bytes);
  if (error != 0) {
    mitosis_shim_free(bytes);
    return error;
  }
  into = {bytes, head.total_bytes, static_cast<std::uint64_t>(head.generation), head.lease_ms};
  return 0;
}

namespace detail {

/// The reply to one request of a lane: parts. Its status; below zero: the connection is lost.
inline int receive_read(mitosis_socket* socket, std::uint64_t sequence,
                        mitosis_read& read) noexcept {
  auto* into = static_cast<std::uint8_t*>(read.into);
  for (auto left = static_cast<std::uint32_t>(read.count << page_shift); left != 0;) {
    tcp::PartHeader part;
    int error = mitosis_shim_receive(socket, &part, sizeof part);
    if (error != 0) return error;
    if (part.sequence != sequence) return -errno_protocol;
    if (part.status != 0) {
      if (part.bytes != 0 || part.status > static_cast<std::uint32_t>(Errc::last)) {
        return -errno_protocol;
      }
      read.result = errno_of(static_cast<Errc>(part.status));
      return 0;
    }
    if (part.bytes != tcp::part_bytes(left)) return -errno_protocol;
    error = mitosis_shim_receive(socket, into, part.bytes);
    if (error != 0) return error;
    into += part.bytes;
    left -= part.bytes;
  }
  read.result = 0;
  return 0;
}

}  // namespace detail

/// Carries out those of `reads` that are pending, with one message; `*sequence` counts the lane's
/// requests. After an error some are still pending, and the lane has ended.
inline int read_lane(mitosis_socket* socket, mitosis_u64* sequence, const TargetName& target,
                     mitosis_read* reads, std::uint32_t count) noexcept {
  tcp::LaneRequest requests[MITOSIS_MAX_READS];
  std::uint32_t pending = 0;
  const std::uint64_t first = *sequence;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (reads[i].result != MITOSIS_PENDING) continue;
    if (reads[i].count == 0 || reads[i].count > tcp::max_read >> page_shift ||
        pending == MITOSIS_MAX_READS) {
      return -errno_invalid;
    }
    requests[pending] = {target.number, static_cast<std::uint32_t>(reads[i].count << page_shift),
                         target.key, reads[i].index << page_shift, first + pending};
    ++pending;
  }
  if (pending == 0) return 0;
  *sequence += pending;
  int error = mitosis_shim_send(socket, requests, pending * sizeof requests[0]);
  std::uint64_t next = first;
  for (std::uint32_t i = 0; error == 0 && i < count; ++i) {
    if (reads[i].result == MITOSIS_PENDING) {
      error = detail::receive_read(socket, next++, reads[i]);
    }
  }
  return error;
}

}  // namespace mitosis::kernel
