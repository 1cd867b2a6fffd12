// SPDX-License-Identifier: MIT
// What the wire fuzzers run of the kernel module: all that it reads from other machines. World:
// user.
#pragma once

#include "kernel_shim.hpp"

namespace mitosis::fuzz {

/// A peer that has said these bytes, to each of the module's readers; the first chooses how much
/// the module had asked for.
inline void run_kernel(Bytes bytes) {
  namespace k = kernel;
  if (bytes.empty()) return;
  mitosis_socket socket;
  const Bytes rest = bytes.sub(1);
  const auto again = [&] { socket.said = rest; };

  again();
  if (k::greet(&socket, auth::Purpose::rpc, MachineId::none) == 0) std::abort();  // trust
  auth::Purpose purpose{};
  again();
  if (k::admit(&socket, purpose) == 0) std::abort();
  again();
  mitosis_fetched fetched = {};
  if (k::query(&socket, 1, HandlerId{7}, AuthKey{}, fetched) == 0) mitosis_shim_free(fetched.bytes);
  again();
  rpc::LeaseReply lease;
  static_cast<void>(k::call(&socket, 0, rpc::RenewLease{}, lease));

  std::vector<std::vector<std::uint8_t>> memory;  // exact sizes: the sanitizer sees a byte too many
  mitosis_read reads[MITOSIS_MAX_READS];
  const std::uint32_t count = 1 + bytes[0] % 4;
  for (std::uint32_t i = 0; i < count; ++i) {
    memory.emplace_back((1 + i * 17) * page_size);
    reads[i] = {i, 1 + i * 17, memory.back().data(), 0, MITOSIS_PENDING};
  }
  again();
  mitosis_u64 sequence = 0;
  static_cast<void>(k::read_lane(&socket, &sequence, {}, reads, count));

  again();
  k::CallSession(&socket).run();
  again();
  k::serve_lane(&socket);
  if (shim::world.blocks != 0) std::abort();  // a leak
  shim::world.said.clear();
}

}  // namespace mitosis::fuzz
