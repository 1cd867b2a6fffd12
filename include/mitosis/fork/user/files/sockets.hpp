// SPDX-License-Identifier: MIT
// UnixSocket and InetSocket: what is rebuilt of a socket. World: user.
#pragma once

#include <mitosis/fork/user/files/async.hpp>
#include <mitosis/fork/user/files/pipe.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::files {

/// One of socket_options.hpp's table by its id. Two values: struct linger and struct timeval.
struct SocketOption {
  std::uint16_t id = 0;
  std::int64_t a = 0, b = 0;
  template <class A>
  void fields(A& archive) {
    archive(id, a, b);
  }
};

enum class SocketRole : std::uint8_t {
  idle = 0,      ///< neither listens nor is connected, maybe bound
  listener = 1,  ///< rebound to its address
  datagram = 2,  ///< connected to an address, which is done again
  pair = 3,      ///< connected to another descriptor of the same process
  dead = 4,      ///< was connected to somebody else: its peer has closed
  last = dead,
};

struct UnixSocket {
  SocketRole role = SocketRole::idle;
  std::int32_t type = 0;   ///< SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
  std::int32_t peer = -1;  ///< of a pair: the other end's lowest descriptor
  std::string name;        ///< absolute path; or a zero byte and an abstract name; or empty
  std::string peer_name;   ///< of a datagram socket
  std::uint32_t mode = 0;  ///< permissions of the path that it is bound to
  std::int32_t backlog = 0;
  std::uint8_t shut = 0;  ///< bit 0: does not receive any more, bit 1: does not send
  std::vector<SocketOption> options;
  std::vector<Chunk> incoming;  ///< not read yet; oldest first
  Async async;
  template <class A>
  void fields(A& a) {
    a(role, type, peer, name, peer_name, mode, backlog, shut, options, incoming, async);
  }
};

struct InetSocket {
  SocketRole role = SocketRole::idle;
  std::int32_t family = 0;
  std::int32_t type = 0;
  std::int32_t protocol = 0;
  std::vector<std::uint8_t> local;  ///< struct sockaddr_in or _in6 as it is; empty: not bound
  std::vector<std::uint8_t> peer;   ///< the same, of a connected datagram socket
  std::int32_t backlog = 0;
  std::vector<SocketOption> options;
  Async async;
  template <class A>
  void fields(A& a) {
    a(role, family, type, protocol, wire::limit<128>(local), wire::limit<128>(peer), backlog,
      options, async);
  }
};

}  // namespace mitosis::files
