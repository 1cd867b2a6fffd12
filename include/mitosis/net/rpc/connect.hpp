// SPDX-License-Identifier: MIT
// Connecting for calls: a blocking connect with a deadline, and the handshake. World: user.
#pragma once

#include <poll.h>

#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/tcp/socket.hpp>

#include <cerrno>
#include <utility>

namespace mitosis::rpc {

/// Waits for a started connect to end. machine_unreachable, or timed_out at the deadline.
[[nodiscard]] inline Result<void> finish_connect(int fd, const tcp::Address& address,
                                                 Time deadline) {
  for (;;) {
    const Time now = tcp::monotonic_now();
    if (now >= deadline) {
      return Error(Errc::timed_out, address.text().c_str()).in("connect");
    }
    pollfd waiting{fd, POLLOUT, 0};
    const int ready = ::poll(&waiting, 1, tcp::timeout_ms(deadline, now));
    if (ready < 0 && errno != EINTR) return Error(Errc::system_call_failed, "poll", errno);
    if (ready <= 0) continue;
    const int error = tcp::connect_error(fd);
    if (error == 0 && (waiting.revents & POLLOUT) != 0) return {};
    return Error(Errc::machine_unreachable, address.text().c_str(), error).in("connect");
  }
}

/// Asks who listens at an address, with mutual authentication, and hangs up. For a first contact,
/// when the machine's id is not known yet.
[[nodiscard]] inline Result<MachineId> discover(const auth::Identity& self,
                                                const tcp::Address& address, Time deadline) {
  Result<UniqueFd> fd = tcp::start_connect(address);
  if (!fd.ok()) return fd.error();
  if (Result<void> done = finish_connect(fd->get(), address, deadline); !done.ok()) {
    return done.error();
  }
  auth::ClientHandshake handshake(self, MachineId::none, auth::Purpose::rpc);
  tcp::FrameStream stream(fd->get());
  Result<MachineId> peer = tcp::handshake_as_client(stream, handshake, deadline);
  if (!peer.ok()) {
    Error error = peer.error();
    return error.in("connect");
  }
  static_cast<void>(stream.send(wire::make_frame(Bye{}), deadline));
  return peer;
}

}  // namespace mitosis::rpc
