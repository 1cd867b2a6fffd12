// SPDX-License-Identifier: MIT
// What the module answers other machines, as an agent does: calls, and reads on lanes. World:
// kernel. One thread a connection; every byte that comes is checked, and nothing is served before
// the peer has proved that it has the cluster's secret.
#pragma once

#include <mitosis/fork/kernel/agent_calls.hpp>
#include <mitosis/fork/kernel/wire.hpp>

#include <cstdint>

namespace mitosis::kernel {

/// The listening side of `greet`. Only a code goes out to who has not proved himself.
inline int admit(mitosis_socket* socket, auth::Purpose& purpose) noexcept {
  Wire wire(socket);
  auth::Hello hello;
  auth::Challenge challenge;
  auth::Proof proof;
  int error = wire.receive(hello);
  if (error != 0) return error;
  challenge.machine = MachineId{mitosis_shim_machine()};
  mitosis_shim_random(challenge.nonce.data(), challenge.nonce.size());
  error = wire.send(challenge);
  if (error == 0) error = wire.receive(proof);
  if (error != 0) return error;
  if (!is_proof(proof.mac, prove(auth::Side::client, hello, challenge))) {
    (void)wire.send(ErrorReply{Error(Errc::authentication_failed)});
    return -errno_access;
  }
  purpose = hello.purpose;
  return wire.send(auth::Proof{prove(auth::Side::server, hello, challenge)});
}

/// The target that a peer reads, kept from one read to the next.
class Served {
 public:
  Served() noexcept = default;
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() { mitosis_shim_put(prepared_); }

  /// Whole pages of it, by the numbers of its descriptor's runs.
  Errc read(const TargetName& target, std::uint64_t address, MutableBytes into) noexcept {
    if (address % page_size != 0 || into.size() % page_size != 0) return Errc::invalid_argument;
    if (prepared_ == nullptr || !(target == target_)) {
      mitosis_shim_put(prepared_);
      prepared_ = mitosis_shim_find_target(target.number, target.key);
      target_ = target;
    }
    if (prepared_ == nullptr) return Errc::revoked;
    mitosis_read read = {address >> page_shift, into.size() >> page_shift, into.data(), 0,
                         MITOSIS_PENDING};
    mitosis_shim_read_prepared(prepared_, &read);
    if (read.result == 0) return Errc::ok;
    return read.result == -errno_stale ? Errc::revoked : Errc::invalid_argument;
  }

 private:
  TargetName target_;
  mitosis_prepared* prepared_ = nullptr;
};

/// A block of the shim's memory. Null: there is none.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) noexcept
      : memory_(static_cast<std::uint8_t*>(mitosis_shim_allocate(bytes))), size_(bytes) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { mitosis_shim_free(memory_); }
  explicit operator bool() const noexcept { return memory_ != nullptr; }
  [[nodiscard]] MutableBytes bytes() const noexcept { return {memory_, size_}; }

 private:
  std::uint8_t* memory_;
  std::size_t size_;
};

/// Reads until the peer closes, or says what is no request.
inline void serve_lane(mitosis_socket* socket) noexcept {
  Buffer buffer(sizeof(tcp::PartHeader) + tcp::max_part);
  Served served;
  tcp::LaneRequest request;
  while (buffer && mitosis_shim_wait(socket) == 0) {
    if (mitosis_shim_receive(socket, &request, sizeof request) != 0) return;
    if (request.bytes == 0 || request.bytes > tcp::max_read) return;
    for (std::uint32_t done = 0; done < request.bytes;) {
      tcp::PartHeader part{request.sequence, 0, tcp::part_bytes(request.bytes - done)};
      const MutableBytes bytes = buffer.bytes().sub(sizeof part, part.bytes);
      const Errc status =
          served.read({request.target_number, request.target_key}, request.address + done, bytes);
      if (status != Errc::ok) part = {request.sequence, static_cast<std::uint32_t>(status), 0};
      __builtin_memcpy(buffer.bytes().data(), &part, sizeof part);
      if (mitosis_shim_send(socket, buffer.bytes().data(), sizeof part + part.bytes) != 0) return;
      if (status != Errc::ok) break;
      done += part.bytes;
    }
  }
}

/// A session for calls, which are executed one after the other.
class CallSession {
 public:
  explicit CallSession(mitosis_socket* socket) noexcept : socket_(socket), wire_(socket) {}

  void run() noexcept {
    std::uint8_t payload[max_small_message];
    while (mitosis_shim_wait(socket_) == 0) {
      if (wire_.receive_header(header_, sizeof payload) != 0) return;
      if (wire_.receive_bytes(payload, header_.length) != 0) return;
      if (!answer(Bytes(payload, header_.length))) return;
    }
  }

 private:
  /// False: the session ends.
  bool answer(Bytes payload) noexcept {
    switch (static_cast<MessageType>(header_.type)) {
      case MessageType::nil:
        return reply(rpc::NilReply{});
      case MessageType::query_descriptor:
        return on<rpc::QueryDescriptor>(payload);
      case MessageType::fallback_read:
        return on<rpc::FallbackRead>(payload);
      case MessageType::reclaim:
        return on<rpc::Reclaim>(payload);
      case MessageType::renew_lease:
        return on<rpc::RenewLease>(payload);
      case MessageType::connect_queue_pair:
      case MessageType::expect_connection:
      case MessageType::query_pieces:
      case MessageType::query_way:
        return refuse(Error(Errc::transport_unsupported, "a kernel module serves agents over TCP"));
      case MessageType::bye:
        return false;
      default:
        refuse(Error(Errc::bad_message, "not a request"));
        return false;
    }
  }
  template <class M>
  bool on(Bytes payload) noexcept {
    M message;
    if (Wire::decode(payload, message)) return execute(message);
    refuse(Error(Errc::bad_message));
    return false;
  }

  bool execute(const rpc::QueryDescriptor& m) noexcept {
    mitosis_prepared* const found = open(m.handler, m.key);
    if (found == nullptr) return refused_;
    const bool sent = send_descriptor(*found);
    mitosis_shim_put(found);
    return sent;
  }
  bool execute(const rpc::FallbackRead& m) noexcept {
    if (m.bytes == 0 || m.bytes > rpc::max_fallback_read) {
      return refuse(Error(Errc::invalid_argument));
    }
    Buffer buffer(m.bytes);
    if (!buffer) return refuse(Error(Errc::out_of_memory));
    const Errc status = served_.read(m.target, m.address, buffer.bytes());
    if (status != Errc::ok) return refuse(Error(status).at_address(m.address));
    return send_block<rpc::FallbackReply>(buffer.bytes());
  }
  /// Who has had no answer to it asks again, and is told the same.
  bool execute(const rpc::Reclaim& m) noexcept {
    if (mitosis_shim_was_reclaimed(static_cast<mitosis_u64>(m.handler), m.key.bytes) != 0) {
      return reply(rpc::ReclaimReply{});
    }
    mitosis_prepared* const found = open(m.handler, m.key);
    if (found == nullptr) return refused_;
    mitosis_shim_reclaim(static_cast<mitosis_u64>(m.handler), found);
    mitosis_shim_put(found);
    return reply(rpc::ReclaimReply{});
  }
  /// A lease here is its user's word, which children do not prolong: so they are told of none.
  bool execute(const rpc::RenewLease& m) noexcept {
    mitosis_prepared* const found = mitosis_shim_find(static_cast<mitosis_u64>(m.handler));
    mitosis_told told = {};
    if (found != nullptr) mitosis_shim_tell(found, &told);
    mitosis_shim_put(found);
    if (found == nullptr || Generation{told.generation} != m.generation) {
      return refuse(Error(Errc::unknown_handler).of_handler(m.handler));
    }
    return reply(rpc::LeaseReply{0});
  }

  /// With a reference; null: the peer has been told why not.
  mitosis_prepared* open(HandlerId handler, const AuthKey& key) noexcept {
    mitosis_prepared* const found = mitosis_shim_find(static_cast<mitosis_u64>(handler));
    if (found != nullptr && mitosis_shim_opens(found, key.bytes) != 0) return found;
    const Errc why = found == nullptr ? Errc::unknown_handler : Errc::wrong_key;
    mitosis_shim_put(found);
    refused_ = refuse(Error(why).of_handler(handler));
    return nullptr;
  }
  bool send_descriptor(const mitosis_prepared& found) noexcept {
    mitosis_told told = {};
    mitosis_shim_tell(&found, &told);
    DescriptorHead head;
    head.total_bytes = told.bytes;
    head.generation = Generation{told.generation};
    head.policy = Text<255>(mitosis_core_policy());
    if (!reply(head)) return false;
    const Bytes all(static_cast<const std::uint8_t*>(told.descriptor), told.bytes);
    for (std::size_t at = 0; at < all.size(); at += rpc::max_part) {
      if (!send_block<rpc::DescriptorPart>(all.sub(at, rpc::max_part))) return false;
    }
    return true;
  }

  template <class M>
  bool reply(const M& message) noexcept {
    return wire_.send(message, header_.request) == 0;
  }
  bool refuse(const Error& error) noexcept { return reply(ErrorReply{error}); }
  /// A message that is one block of bytes.
  template <class M>
  bool send_block(Bytes bytes) noexcept {
    std::uint8_t head[block_head_bytes];
    FixedEncoder encoder{MutableBytes(head)};
    BlockHead{static_cast<std::uint32_t>(bytes.size())}.fields(encoder);
    return wire_.send_header<M>(header_.request,
                                static_cast<std::uint32_t>(bytes.size() + sizeof head)) == 0 &&
           wire_.send_bytes(head, sizeof head) == 0 &&
           wire_.send_bytes(bytes.data(), bytes.size()) == 0;
  }

  mitosis_socket* socket_;
  Wire wire_;
  wire::FrameHeader header_;
  Served served_;
  bool refused_ = false;  ///< whether the last refusal could be sent
};

}  // namespace mitosis::kernel
