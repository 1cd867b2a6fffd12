// SPDX-License-Identifier: MIT
// Session: the server's side of one RPC connection: receives calls, asks the Service, replies.
// World: user. One thread runs it; calls of one session are executed one after the other.
#pragma once

#include <mitosis/net/rpc/answers.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/frame_stream.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::rpc {

/// Runs until the peer says Bye, closes, breaks the protocol or stalls in the middle of a frame,
/// or the socket is shut down. Does not own the socket.
class Session {
 public:
  /// A peer that takes no byte of a reply for so long is dropped.
  static constexpr std::uint64_t send_ms = 15'000;
  /// No request is longer: they are all small.
  static constexpr std::uint32_t max_request = 4096;

  Session(int fd, const auth::Hello& hello, Service& service, ReplyCache& replies)
      : stream_(fd), answers_(hello, service, replies) {}

  void run() {
    for (;;) {
      Result<wire::Frame> frame = stream_.receive(max_request, tcp::deadline_in(send_ms));
      if (!frame.ok()) {
        // An idle session is fine: TCP keepalive finds a dead peer.
        if (frame.code() == Errc::timed_out && stream_.idle()) continue;
        if (frame.code() == Errc::bad_message || frame.code() == Errc::protocol_mismatch) {
          static_cast<void>(
              stream_.send(wire::make_frame(ErrorReply{frame.error()}), tcp::deadline_in(send_ms)));
        }
        return;
      }
      if (frame->is<Bye>() || !answer(*frame)) return;
    }
  }

 private:
  /// False: the connection must end.
  bool answer(const wire::Frame& frame) {
    return answers_.answer(frame, [this](const std::vector<std::uint8_t>& reply) {
      return stream_.send(reply, tcp::deadline_in(send_ms)).ok();
    });
  }

  tcp::FrameStream stream_;
  Answers answers_;
};

}  // namespace mitosis::rpc
