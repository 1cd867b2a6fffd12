// SPDX-License-Identifier: MIT
// The kernel module's shim, as far as its C++ needs it to talk to other machines, in user space: a
// connection is a socket, or bytes that a peer has said. World: user.
// For one C++ file of a program.
#pragma once

#include <sys/socket.h>

#include <mitosis/fork/kernel/agent_service.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <sodium.h>

#include <mitosis/net/auth/secret.hpp>

/// `fd` below zero: `said` is all that comes, and what is sent is nobody's.
struct mitosis_socket {
  int fd = -1;
  mitosis::Bytes said;
};

/// A prepared parent: page i is full of bytes 'a' + i.
struct mitosis_prepared {
  std::uint64_t handler = 0, generation = 0;
  mitosis::TargetName target;
  mitosis::AuthKey key;
  std::uint64_t pages = 0;
  std::vector<std::uint8_t> descriptor;
  int references = 0;
  bool revoked = false, reclaimed = false;
};

namespace mitosis::shim {

struct World {
  MachineId machine{3};
  std::string secret = "a shared secret!";
  std::map<std::uint64_t, mitosis_prepared> prepared;  ///< by handler
  std::vector<std::string> said;                       ///< in the log
  long blocks = 0;                                     ///< of memory that are not freed
  int given_time = 0;  ///< how often what is received was given a call's time anew
};
inline World world;

}  // namespace mitosis::shim

extern "C" {

inline void* mitosis_shim_allocate(mitosis_size bytes) {
  ++mitosis::shim::world.blocks;
  return std::malloc(bytes);
}
inline void mitosis_shim_free(void* memory) {
  if (memory != nullptr) --mitosis::shim::world.blocks;
  std::free(memory);
}
inline mitosis_u32 mitosis_shim_machine() {
  return static_cast<mitosis_u32>(mitosis::shim::world.machine);
}
inline int mitosis_shim_send(mitosis_socket* socket, const void* bytes, mitosis_size count) {
  if (socket->fd < 0) return 0;
  const auto* from = static_cast<const std::uint8_t*>(bytes);
  while (count > 0) {
    const ssize_t sent = ::send(socket->fd, from, count, MSG_NOSIGNAL);
    if (sent <= 0) return -ECONNRESET;
    from += sent;
    count -= static_cast<mitosis_size>(sent);
  }
  return 0;
}
inline int mitosis_shim_receive(mitosis_socket* socket, void* into, mitosis_size count) {
  if (count == 0) return 0;
  if (socket->fd >= 0) {
    return ::recv(socket->fd, into, count, MSG_WAITALL) == static_cast<ssize_t>(count)
               ? 0
               : -ECONNRESET;
  }
  if (count > socket->said.size()) return -ECONNRESET;
  std::memcpy(into, socket->said.data(), count);
  socket->said = socket->said.sub(count);
  return 0;
}
inline void mitosis_shim_go_on(mitosis_socket*) {
  ++mitosis::shim::world.given_time;
}
inline int mitosis_shim_wait(mitosis_socket* socket) {
  if (socket->fd < 0) return socket->said.empty() ? -ECONNRESET : 0;
  std::uint8_t first;
  return ::recv(socket->fd, &first, 1, MSG_PEEK) == 1 ? 0 : -ECONNRESET;
}
inline void mitosis_shim_random(void* into, mitosis_size bytes) {
  randombytes_buf(into, bytes);
}
inline int mitosis_shim_mac(const void* bytes, mitosis_size count, unsigned char* mac) {
  const std::string& text = mitosis::shim::world.secret;
  const auto secret = mitosis::auth::Secret::from(
      mitosis::Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  secret.value().mac(mitosis::Bytes(static_cast<const std::uint8_t*>(bytes), count), mac);
  return 0;
}
inline void mitosis_shim_say(const char* why) {
  mitosis::shim::world.said.emplace_back(why);
}

inline mitosis_prepared* mitosis_shim_find(mitosis_u64 handler) {
  const auto found = mitosis::shim::world.prepared.find(handler);
  if (found == mitosis::shim::world.prepared.end() || found->second.reclaimed) return nullptr;
  ++found->second.references;
  return &found->second;
}
inline mitosis_prepared* mitosis_shim_find_target(mitosis_u32 number, mitosis_u64 key) {
  for (auto& [handler, prepared] : mitosis::shim::world.prepared) {
    if (!(prepared.target == mitosis::TargetName{number, key})) continue;
    ++prepared.references;
    return &prepared;
  }
  return nullptr;
}
inline void mitosis_shim_put(mitosis_prepared* prepared) {
  if (prepared != nullptr) --prepared->references;
}
inline int mitosis_shim_opens(const mitosis_prepared* prepared, const unsigned char* key) {
  return std::memcmp(prepared->key.bytes, key, sizeof prepared->key.bytes) == 0 ? 1 : 0;
}
inline void mitosis_shim_tell(const mitosis_prepared* prepared, mitosis_told* into) {
  *into = {prepared->descriptor.data(), prepared->descriptor.size(), prepared->generation};
}
inline void mitosis_shim_read_prepared(mitosis_prepared* prepared, mitosis_read* read) {
  read->result = prepared->revoked ? -ESTALE : 0;
  if (read->index > prepared->pages || read->count > prepared->pages - read->index) {
    read->result = -EINVAL;
  }
  if (read->result != 0) return;
  for (mitosis_u64 i = 0; i < read->count; ++i) {
    std::memset(static_cast<std::uint8_t*>(read->into) + i * mitosis::page_size,
                static_cast<int>('a' + read->index + i), mitosis::page_size);
  }
}
inline void mitosis_shim_reclaim(mitosis_u64 handler, const mitosis_prepared*) {
  mitosis_prepared& prepared = mitosis::shim::world.prepared.at(handler);
  prepared.revoked = prepared.reclaimed = true;
}
inline int mitosis_shim_was_reclaimed(mitosis_u64 handler, const unsigned char* key) {
  const auto found = mitosis::shim::world.prepared.find(handler);
  return found != mitosis::shim::world.prepared.end() && found->second.reclaimed &&
                 mitosis_shim_opens(&found->second, key) != 0
             ? 1
             : 0;
}
inline const char* mitosis_core_policy() {
  return "rc+prefetch8+none+cow";
}

}  // extern "C"
