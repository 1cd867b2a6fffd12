// SPDX-License-Identifier: MIT
// open_unix_socket(): pairs, listeners, datagram sockets, and closed connections. World: user.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <mitosis/fork/user/files/socket_options.hpp>
#include <mitosis/fork/user/restore/files/opening.hpp>

#include <cstddef>
#include <cstring>

namespace mitosis::restore {

/// All that were carried. bad_descriptor for one that is not in the table.
inline Result<void> set_options(const descriptor::FileRecord& file, int socket,
                                const std::vector<files::SocketOption>& options) {
  for (const files::SocketOption& option : options) {
    if (option.id >= files::option_count) return bad_payload(file, "an unknown socket option");
    if (files::set_option(socket, option)) continue;
    const int err = errno;
    const files::OptionKind& kind = files::option_kinds[option.id];
    const std::string what = "the socket option " + std::to_string(kind.name) + " of level " +
                             std::to_string(kind.level);
    return cannot_make(file, what.c_str(), err);
  }
  return {};
}

namespace detail {

struct UnixAddress {
  sockaddr_un address = {};
  socklen_t bytes = 0;
  [[nodiscard]] const sockaddr* raw() const noexcept {
    return reinterpret_cast<const sockaddr*>(&address);
  }
};
inline Result<UnixAddress> unix_address(const descriptor::FileRecord& file,
                                        const std::string& name) {
  UnixAddress made;
  made.address.sun_family = AF_UNIX;
  const bool is_path = !name.empty() && name[0] != '\0';
  if (name.size() + (is_path ? 1 : 0) > sizeof made.address.sun_path) {
    return cannot_make(file, (name + " is too long for a socket's path").c_str(), 0);
  }
  std::memcpy(made.address.sun_path, name.data(), name.size());
  made.bytes =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (is_path ? 1 : 0));
  return made;
}

/// Whether nobody has the socket of this path open any more.
inline bool is_stale(const UnixAddress& at, int type) {
  struct stat is = {};
  if (::lstat(at.address.sun_path, &is) != 0 || !S_ISSOCK(is.st_mode)) return false;
  const UniqueFd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && ::connect(probe.get(), at.raw(), at.bytes) != 0 && errno == ECONNREFUSED;
}

inline Result<void> bind_unix(Opening& opening, const descriptor::FileRecord& file, int socket,
                              const files::UnixSocket& of) {
  if (of.name.empty()) return {};
  const auto at = unix_address(file, of.name);
  if (!at) return at.error();
  const bool is_path = of.name[0] != '\0';
  int bound = ::bind(socket, at->raw(), at->bytes);
  if (bound != 0 && errno == EADDRINUSE && is_path && is_stale(*at, of.type)) {
    (void)::unlink(of.name.c_str());
    bound = ::bind(socket, at->raw(), at->bytes);
  }
  if (bound != 0) {
    const int err = errno;
    const std::string text = is_path ? of.name : "@" + of.name.substr(1);
    return cannot_make(file, ("the unix socket " + text).c_str(), err);
  }
  if (is_path) {
    opening.made.add(of.name);
    if (::chmod(of.name.c_str(), of.mode & 07777) != 0) return cannot_make(file, "chmod", errno);
  }
  return {};
}

inline Result<void> send_all(const descriptor::FileRecord& file, int from,
                             const std::vector<files::Chunk>& chunks) {
  for (const files::Chunk& chunk : chunks) {
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const ssize_t n = ::send(from, chunk.bytes.data(), chunk.bytes.size(), flags);
    if (n < 0 || static_cast<std::size_t>(n) != chunk.bytes.size()) {
      return cannot_make(file, "a socket that holds its content", n < 0 ? errno : 0);
    }
  }
  return {};
}

inline Result<void> shut(const descriptor::FileRecord& file, int socket, std::uint8_t how) {
  if ((how & 3) == 0) return {};
  const int what = (how & 3) == 3 ? SHUT_RDWR : (how & 1) != 0 ? SHUT_RD : SHUT_WR;
  if (::shutdown(socket, what) != 0) return cannot_make(file, "shutdown", errno);
  return {};
}

/// Two connected sockets, and what waits at each.
struct MadePair {
  UniqueFd own, other;
};
inline Result<MadePair> make_pair(const descriptor::FileRecord& file, const files::UnixSocket& own,
                                  const files::UnixSocket& other) {
  int ends[2];
  if (::socketpair(AF_UNIX, own.type | SOCK_CLOEXEC, 0, ends) != 0) {
    return cannot_make(file, "socketpair", errno);
  }
  MadePair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
  for (const auto& [socket, of] : {std::pair{ends[0], &own}, std::pair{ends[1], &other}}) {
    if (Result<void> ok = set_options(file, socket, of->options); !ok) return ok.error();
  }
  if (Result<void> ok = send_all(file, ends[1], own.incoming); !ok) return ok.error();
  if (Result<void> ok = send_all(file, ends[0], other.incoming); !ok) return ok.error();
  if (Result<void> ok = shut(file, ends[0], own.shut); !ok) return ok.error();
  if (Result<void> ok = shut(file, ends[1], other.shut); !ok) return ok.error();
  return pair;
}

/// One end of a pair; the other waits for its own record.
inline Result<UniqueFd> open_pair(Opening& opening, const descriptor::FileRecord& file,
                                  const files::UnixSocket& own) {
  if (const auto made = opening.peers.find(file.fd); made != opening.peers.end()) {
    UniqueFd fd = std::move(made->second);
    opening.peers.erase(made);
    return fd;
  }
  const auto peer = opening.record(own.peer, descriptor::FileKind::unix_socket);
  if (!peer || peer->fd <= file.fd) return bad_payload(file, "of a socket pair with one end");
  const auto other = payload_of<files::UnixSocket>(opening, *peer);
  if (!other) return other.error();
  if (other->role != files::SocketRole::pair || other->peer != file.fd || other->type != own.type) {
    return bad_payload(file, "of a socket pair with one end");
  }
  auto pair = make_pair(file, own, *other);
  if (!pair) return pair.error();
  opening.peers.emplace(peer->fd, std::move(pair->other));
  return std::move(pair->own);
}

/// A socket of its own, bound where it was.
inline Result<UniqueFd> open_bound(Opening& opening, const descriptor::FileRecord& file,
                                   const files::UnixSocket& of) {
  UniqueFd fd(::socket(AF_UNIX, of.type | SOCK_CLOEXEC, 0));
  if (!fd) return cannot_make(file, "a unix socket", errno);
  if (Result<void> ok = set_options(file, fd.get(), of.options); !ok) return ok.error();
  if (Result<void> ok = bind_unix(opening, file, fd.get(), of); !ok) return ok.error();
  if (of.role == files::SocketRole::listener && ::listen(fd.get(), of.backlog) != 0) {
    return cannot_make(file, "listen", errno);
  }
  if (of.role == files::SocketRole::datagram) {
    opening.connects.push_back({file.fd, fd.get(), of.peer_name, !of.name.empty()});
  }
  return fd;
}

}  // namespace detail

inline Result<UniqueFd> open_unix_socket(Opening& opening, const descriptor::FileRecord& file) {
  const auto of = payload_of<files::UnixSocket>(opening, file);
  if (!of) return of.error();
  if (of->type != SOCK_STREAM && of->type != SOCK_DGRAM && of->type != SOCK_SEQPACKET) {
    return bad_payload(file, "of a socket of no known type");
  }
  Result<UniqueFd> fd = Error(Errc::bad_descriptor);
  if (of->role == files::SocketRole::pair) {
    fd = detail::open_pair(opening, file, *of);
  } else if (of->role == files::SocketRole::dead) {
    auto pair = detail::make_pair(file, *of, {});
    fd = pair ? Result<UniqueFd>(std::move(pair->own)) : Result<UniqueFd>(pair.error());
  } else {
    fd = detail::open_bound(opening, file, *of);
  }
  if (!fd) return fd;
  if (Result<void> set = set_flags(fd->get(), file, of->async); !set) return set.error();
  return fd;
}

/// Once all are bound. Where nobody has the peer's name here, a socket is what it is after its
/// peer's death: sending to it is refused (ECONNREFUSED).
inline Result<void> finish_connects(const Opening& opening) {
  for (const LateConnect& late : opening.connects) {
    descriptor::FileRecord file = {};
    file.fd = late.fd;
    const auto at = detail::unix_address(file, late.peer);
    if (!at) return at.error();
    if (::connect(late.socket, at->raw(), at->bytes) == 0) continue;
    if (errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR) {
      return cannot_make(file, late.peer.c_str(), errno);
    }
    if (late.is_bound) continue;  // keeps its address; sending tells that it is not connected
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return cannot_make(file, "socketpair", errno);
    }
    const UniqueFd own(ends[0]);
    ::close(ends[1]);
    const int flags = ::fcntl(late.socket, F_GETFL);
    if (::dup3(own.get(), late.socket, O_CLOEXEC) < 0 ||
        ::fcntl(late.socket, F_SETFL, flags) != 0) {
      return cannot_make(file, "a socket whose peer is gone", errno);
    }
  }
  return {};
}

}  // namespace mitosis::restore
