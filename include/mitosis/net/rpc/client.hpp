// SPDX-License-Identifier: MIT
// Client: calls to one machine's agent. World: user; thread-safe, blocking, with deadlines.
// A call is executed at most once, whatever happens to connections: it is repeated under the same
// number, and the server remembers the replies of calls that must not be executed twice.
#pragma once

#include <mitosis/net/rpc/calls.hpp>
#include <mitosis/net/rpc/connect.hpp>
#include <mitosis/net/rpc/service.hpp>
#include <mitosis/net/rpc/turn.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/frame_stream.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::rpc {

/// One session to one machine, made at the first call and again after a loss. Calls of several
/// threads are made one after the other (waiting counts towards the deadline): who must not wait
/// behind a long call, as fallback reads, has a Client of its own. Errors name the machine.
class Client : public Calls<Client> {
 public:
  struct Options {
    std::uint64_t connect_ms = 3000;  ///< of a deadline, at most so much is spent on one connect
    unsigned tries = 3;               ///< connections a call is tried on
    std::uint64_t pause_ms = 50;      ///< before a further try
  };
  /// Hears when an established session is lost (not when it is closed), and why: timed_out means
  /// that a reply did not come in time, anything else that the connection broke. Called from within
  /// the call that noticed, so it must not call this client.
  using OnDisconnect = std::function<void(MachineId, const Error&)>;

  /// The book must outlive the client; it tells where the machine is at each connect.
  Client(auth::Identity self, const tcp::AddressBook& book, MachineId peer,
         OnDisconnect on_disconnect, Options options);
  Client(auth::Identity self, const tcp::AddressBook& book, MachineId peer)
      : Client(std::move(self), book, peer, {}, Options()) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(); }

  /// Ends the session and every call in progress (shutting_down), for good.
  void close();
  [[nodiscard]] MachineId peer() const noexcept { return peer_; }
  [[nodiscard]] bool connected() const { return session() != nullptr; }

  /// The current session's socket, shared so that it stays open while someone watches it.
  struct Socket {
    UniqueFd fd;
  };
  [[nodiscard]] std::shared_ptr<const Socket> session() const {
    const std::lock_guard lock(session_mutex_);
    return session_;
  }
  /// Drops `session` if it is the current one, and reports the loss.
  void lost(const std::shared_ptr<const Socket>& session, const Error& why);

 private:
  friend class Calls<Client>;
  template <class Request, class T, class ReadReply>
  Result<T> call(const Request& request, Time deadline, const char* step, ReadReply read_reply);
  Result<std::shared_ptr<const Socket>> connect(Time deadline);

  const auth::Identity self_;
  const tcp::AddressBook* const book_;
  const MachineId peer_;
  const OnDisconnect on_disconnect_;
  const Options options_;
  const std::uint64_t name_;  ///< random: this client, across its sessions

  Turn calls_;                   ///< held for a whole call
  std::uint64_t number_ = 0;     ///< of the last call; guarded by calls_
  std::uint64_t last_sent_ = 0;  ///< the last call that (perhaps) reached the wire; the same

  mutable std::mutex session_mutex_;
  std::condition_variable closed_;
  std::shared_ptr<const Socket> session_;     ///< guarded by session_mutex_, as is
  std::shared_ptr<const Socket> connecting_;  ///< the one that is not through its handshake
  bool closing_ = false;                      ///< and this
};

inline Client::Client(auth::Identity self, const tcp::AddressBook& book, MachineId peer,
                      OnDisconnect on_disconnect, Options options)
    : self_(std::move(self)),
      book_(&book),
      peer_(peer),
      on_disconnect_(std::move(on_disconnect)),
      options_(options),
      name_([] {
        std::uint64_t name = 0;
        randombytes_buf(&name, sizeof(name));
        return name;
      }()) {}

// -- calls ----------------------------------------------------------------------------------------

/// `read_reply(stream, first frame, number)` takes the reply in; its errors break the connection.
template <class Request, class T, class ReadReply>
Result<T> Client::call(const Request& request, Time deadline, const char* step,
                       ReadReply read_reply) {
  const auto failed = [this, step](Error error) { return error.at_machine(peer_).in(step); };
  const Time began = tcp::monotonic_now();
  const auto patience = std::chrono::milliseconds(tcp::timeout_ms(deadline, began));
  const std::optional<Turn::Held> turn = calls_.take(patience);
  if (!turn) {
    return failed(Error(Errc::timed_out, "another call to this machine is in progress"));
  }
  const std::uint64_t number = ++number_;
  Error last(Errc::timed_out);
  for (unsigned tries = 0; tries < options_.tries; ++tries) {
    if (tries > 0) {  // a pause that `close` ends
      std::unique_lock lock(session_mutex_);
      closed_.wait_for(lock, std::chrono::milliseconds(options_.pause_ms),
                       [this] { return closing_; });
    }
    Result<std::shared_ptr<const Socket>> socket = connect(deadline);
    if (!socket.ok()) {
      last = socket.error();
      const bool worth_it =
          last.code == Errc::machine_unreachable || last.code == Errc::connection_lost;
      if (!worth_it || tcp::monotonic_now() >= deadline) return failed(last);
      continue;
    }
    last_sent_ = number;
    tcp::FrameStream stream((*socket)->fd.get());
    wire::FrameHeader header;
    header.request = number;
    header.patience_ms =
        static_cast<std::uint32_t>(tcp::timeout_ms(deadline, tcp::monotonic_now()));
    Result<void> sent = stream.send(wire::make_frame(request, header), deadline);
    Result<wire::Frame> frame =
        sent.ok() ? stream.receive(wire::max_frame_payload, deadline) : sent.error();
    if (!frame.ok()) {
      last = frame.error();
    } else if (frame->is<ErrorReply>()) {
      Result<ErrorReply> reply = expect<ErrorReply>(*frame, number);
      if (reply.ok()) {
        return failed(reply->error.code == Errc::ok ? Error(Errc::bad_message) : reply->error);
      }
      last = reply.error();
    } else {
      Result<T> reply = read_reply(stream, *frame, number);
      if (reply.ok()) return reply;
      last = reply.error();
    }
    lost(*socket, last);
    if (last.code != Errc::connection_lost) return failed(last);
  }
  return failed(last);
}

// -- the session ----------------------------------------------------------------------------------

/// The current session, or a new one.
inline Result<std::shared_ptr<const Client::Socket>> Client::connect(Time deadline) {
  if (std::shared_ptr<const Socket> current = session()) return current;
  const std::optional<tcp::Address> address = book_->find(peer_);
  if (!address) return Error(Errc::machine_unknown);
  const Time own = tcp::deadline_in(options_.connect_ms);
  const Time end = own < deadline ? own : deadline;
  Result<UniqueFd> fd = tcp::start_connect(*address);
  if (!fd.ok()) return fd.error();
  auto made = std::make_shared<Socket>();
  made->fd = std::move(fd).value();
  {
    const std::lock_guard lock(session_mutex_);
    if (closing_) return Error(Errc::shutting_down);
    connecting_ = made;
  }
  Result<void> ready = finish_connect(made->fd.get(), *address, end);
  if (ready.ok()) {
    auth::ClientHandshake handshake(self_, peer_, auth::Purpose::rpc, {name_, last_sent_});
    tcp::FrameStream stream(made->fd.get());
    Result<MachineId> peer = tcp::handshake_as_client(stream, handshake, end);
    if (!peer.ok()) ready = peer.error();
  }
  const std::lock_guard lock(session_mutex_);
  connecting_.reset();
  if (closing_) return Error(Errc::shutting_down);
  if (!ready.ok()) {
    // A silent peer: the call's own deadline has not necessarily passed.
    if (ready.code() == Errc::timed_out) return Error(Errc::machine_unreachable, "no answer");
    return ready.error();
  }
  session_ = made;
  return std::shared_ptr<const Socket>(made);
}

inline void Client::lost(const std::shared_ptr<const Socket>& session, const Error& why) {
  {
    const std::lock_guard lock(session_mutex_);
    if (session_ != session || closing_) return;
    session_.reset();
  }
  ::shutdown(session->fd.get(), SHUT_RDWR);
  if (on_disconnect_) on_disconnect_(peer_, why);
}

inline void Client::close() {
  std::shared_ptr<const Socket> session;
  {
    const std::lock_guard lock(session_mutex_);
    closing_ = true;
    session = std::move(session_);
    if (connecting_) ::shutdown(connecting_->fd.get(), SHUT_RDWR);
  }
  closed_.notify_all();
  if (!session) return;
  if (const auto idle =
          calls_.take(std::chrono::milliseconds(0))) {  // no call is in the middle of a frame
    tcp::FrameStream stream(session->fd.get());
    static_cast<void>(stream.send(wire::make_frame(Bye{}), Time{0}));
  }
  ::shutdown(session->fd.get(), SHUT_RDWR);
}

}  // namespace mitosis::rpc
