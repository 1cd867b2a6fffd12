// SPDX-License-Identifier: MIT
// make_ready(): two connection pools bring both ends of a link up, over an authenticated TCP
// connection. World: user; blocks.
#pragma once

#include <mitosis/net/auth/client_handshake.hpp>
#include <mitosis/net/tcp/frame_stream.hpp>
#include <mitosis/net/verbs/link_messages.hpp>

namespace mitosis::verbs {

/// Both tell their ends and raise them; each says when it may be sent to, and waits for the other's
/// word. `first`: this one has called. `Link` has `end` and `raise`, as PoolLink. What the other
/// refuses is its error; bad_message, connection_lost, timed_out.
template <class Link>
[[nodiscard]] Result<void> make_ready(tcp::FrameStream& stream, Link& link, bool first,
                                      Time deadline) {
  const auto tell = [&] { return stream.send(wire::make_frame(LinkEnd{link.end()}), deadline); };
  const auto hear = [&]() -> Result<wire::Frame> {
    Result<wire::Frame> frame = stream.receive(auth::max_handshake_payload, deadline);
    if (!frame.ok() || !frame->is<ErrorReply>()) return frame;
    const Result<ErrorReply> refused = frame->as<ErrorReply>();
    return refused.ok() ? refused->error : refused.error();
  };
  if (first) {
    if (Result<void> sent = tell(); !sent.ok()) return sent;
  }
  Result<wire::Frame> frame = hear();
  if (!frame.ok()) return frame.error();
  const Result<LinkEnd> other = frame->as<LinkEnd>();
  if (!other.ok()) return other.error();
  if (Result<void> raised = link.raise(other->end); !raised.ok()) return raised;
  if (!first) {
    if (Result<void> sent = tell(); !sent.ok()) return sent;
  }
  if (Result<void> sent = stream.send(wire::make_frame(LinkReady{}), deadline); !sent.ok()) {
    return sent;
  }
  frame = hear();
  if (!frame.ok()) return frame.error();
  if (!frame->is<LinkReady>()) return Error(Errc::bad_message, "not ready");
  return {};
}

}  // namespace mitosis::verbs
