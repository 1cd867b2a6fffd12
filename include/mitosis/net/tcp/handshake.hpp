// SPDX-License-Identifier: MIT
// The handshake over a blocking stream: both sides. World: user.
#pragma once

#include <mitosis/net/auth/client_handshake.hpp>
#include <mitosis/net/tcp/frame_stream.hpp>

namespace mitosis::tcp {

/// Connects up to mutual trust; the machine that answered, or why not.
[[nodiscard]] inline Result<MachineId> handshake_as_client(FrameStream& stream,
                                                           auth::ClientHandshake& handshake,
                                                           Time deadline) {
  if (Result<void> sent = stream.send(handshake.start(), deadline); !sent.ok()) {
    return sent.error();
  }
  for (;;) {
    Result<wire::Frame> frame = stream.receive(auth::max_handshake_payload, deadline);
    if (!frame.ok()) return frame.error();
    Result<auth::ClientHandshake::Step> step = handshake.on_frame(*frame);
    if (!step.ok()) return step.error();
    if (step->done) return handshake.peer();
    if (Result<void> sent = stream.send(step->send, deadline); !sent.ok()) return sent.error();
  }
}

/// Accepts up to mutual trust; what the client is and wants, or why not. The client is told.
[[nodiscard]] inline Result<auth::Hello> handshake_as_server(FrameStream& stream,
                                                             const auth::Identity& self,
                                                             Time deadline) {
  const auto refuse = [&stream, deadline](const Error& error) {
    // Only the code goes out: the peer is not trusted. Whether it arrives does not matter.
    static_cast<void>(stream.send(wire::make_frame(ErrorReply{Error(error.code)}), deadline));
    return error;
  };
  auth::Responder responder(self);
  Result<wire::Frame> frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return refuse(frame.error());
  Result<auth::Hello> hello = frame->as<auth::Hello>();
  if (!hello.ok()) return refuse(hello.error());
  const auth::Challenge challenge = responder.challenge(*hello);
  if (Result<void> sent = stream.send(wire::make_frame(challenge), deadline); !sent.ok()) {
    return sent.error();
  }
  frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return refuse(frame.error());
  Result<auth::Proof> proof = frame->as<auth::Proof>();
  if (!proof.ok()) return refuse(proof.error());
  Result<auth::Proof> own = responder.check(*proof);
  if (!own.ok()) return refuse(own.error());
  if (Result<void> sent = stream.send(wire::make_frame(*own), deadline); !sent.ok()) {
    return sent.error();
  }
  return responder.hello();
}

}  // namespace mitosis::tcp
