// SPDX-License-Identifier: MIT
// Server: listens, authenticates, and gives each connection a thread. World: user.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <mitosis/net/rpc/session.hpp>
#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/tcp/serve_lane.hpp>
#include <mitosis/net/tcp/socket.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace mitosis::tcp {

/// Serves read lanes, RPC sessions and connection pools to authenticated machines. `stop()` (also
/// by the destructor) ends every connection and joins every thread; the services must outlive it.
class Server {
 public:
  struct Options {
    std::string listen = ":0";           ///< "host:port", "[v6]:port", ":port"
    std::size_t max_connections = 1024;  ///< more are told limit_exceeded
    std::uint64_t handshake_ms = 3000;   ///< a connection that is not through by then is dropped
    /// At most so many are in their handshake: the oldest makes room for one more, or whoever
    /// merely connects could keep the cluster's machines out.
    std::size_t max_strangers = 128;
    /// Hears why a connection was refused; any thread of the server calls it. May be empty.
    std::function<void(const Error&)> on_refusal = {};
    /// Serves the connection of another machine's connection pool until that ends; the
    /// connection's thread calls it. Empty: there is none here (transport_unsupported).
    std::function<void(int fd, const auth::Hello&)> on_pool_link = {};
  };

  [[nodiscard]] static Result<std::unique_ptr<Server>> start(Options options,
                                                             auth::Identity identity,
                                                             ReadService& reads,
                                                             rpc::Service& calls) {
    Result<Address> address = resolve(options.listen);
    if (!address.ok()) return address.error();
    Result<UniqueFd> listener = listen_on(*address);
    if (!listener.ok()) return listener.error();
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return Error(Errc::system_call_failed, "eventfd", errno).in("listen");
    std::unique_ptr<Server> server(new Server(std::move(options), std::move(identity), reads, calls,
                                              std::move(listener).value(), std::move(wake)));
    if (Result<void> run = spawn(server->acceptor_, [s = server.get()] { s->accept_all(); });
        !run.ok()) {
      return run.error();
    }
    return server;
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { stop(); }

  /// Returns when no thread of the server runs any more. Calls in progress in the rpc::Service
  /// are waited for. Idempotent; not to be called from a service.
  void stop() {
    stopping_.store(true);
    poke();
    if (acceptor_.joinable()) acceptor_.join();
    listener_.reset();
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Connections that have a thread now, those in their handshake included.
  [[nodiscard]] std::size_t connections() const noexcept { return open_.load(); }

 private:
  /// The descriptor lives until the thread is joined, so that shutdown(2) never hits another.
  struct Connection {
    UniqueFd fd;
    std::thread thread;
    std::atomic<bool> stranger{true};  ///< its handshake is not through
    std::atomic<bool> ended{false};
  };

  Server(Options options, auth::Identity identity, ReadService& reads, rpc::Service& calls,
         UniqueFd listener, UniqueFd wake)
      : options_(std::move(options)),
        identity_(std::move(identity)),
        reads_(&reads),
        calls_(&calls),
        listener_(std::move(listener)),
        wake_(std::move(wake)),
        port_(local_port(listener_.get())) {}

  template <class Body>
  static Result<void> spawn(std::thread& thread, Body body) {
    try {
      thread = std::thread(std::move(body));
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return {};
  }

  void accept_all() {
    while (!stopping_.load()) {
      pollfd waiting[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      static_cast<void>(::poll(waiting, 2, 1000));
      std::uint64_t pokes = 0;
      static_cast<void>(::read(wake_.get(), &pokes, sizeof(pokes)));
      reap(false);
      if (stopping_.load() || (waiting[0].revents & POLLIN) == 0) continue;
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fd) {
        admit(std::move(fd));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The pending connection keeps the listener readable: pause instead of spinning on it.
        report(Error(Errc::limit_exceeded, "accept", errno));
        pollfd pause{wake_.get(), POLLIN, 0};
        static_cast<void>(::poll(&pause, 1, 100));
      }
    }
    reap(true);
  }

  void admit(UniqueFd fd) {
    tune(fd.get());
    make_room_for_a_stranger();
    if (connections_.size() >= options_.max_connections) {
      FrameStream stream(fd.get());
      static_cast<void>(stream.send(
          wire::make_frame(ErrorReply{Error(Errc::limit_exceeded, "connections")}), Time{0}));
      report(from(peer_of(fd.get()), Error(Errc::limit_exceeded)).in("accept a connection"));
      return;
    }
    Connection& connection = connections_.emplace_back();
    connection.fd = std::move(fd);
    open_.fetch_add(1);
    const Result<void> run = spawn(connection.thread, [this, &connection] {
      serve(connection);
      ::shutdown(connection.fd.get(), SHUT_RDWR);
      open_.fetch_sub(1);
      connection.ended.store(true);
      poke();
    });
    if (!run.ok()) {
      report(run.error());
      open_.fetch_sub(1);
      connections_.pop_back();
    }
  }

  /// The oldest first: an honest handshake takes no longer than its messages travel.
  void make_room_for_a_stranger() {
    std::size_t strangers = 1;
    for (const Connection& connection : connections_) strangers += connection.stranger.load();
    for (Connection& connection : connections_) {
      if (strangers <= options_.max_strangers) return;
      if (!connection.stranger.exchange(false)) continue;
      ::shutdown(connection.fd.get(), SHUT_RDWR);
      --strangers;
    }
  }

  /// Joins the threads that ended, or ends and joins all.
  void reap(bool all) {
    if (all) {
      for (Connection& connection : connections_) ::shutdown(connection.fd.get(), SHUT_RDWR);
    }
    connections_.remove_if([all](Connection& connection) {
      if (!all && !connection.ended.load()) return false;
      connection.thread.join();
      return true;
    });
  }

  void serve(Connection& connection) {
    const int fd = connection.fd.get();
    const std::string peer = peer_of(fd);
    FrameStream stream(fd);
    Result<auth::Hello> hello =
        handshake_as_server(stream, identity_, deadline_in(options_.handshake_ms));
    connection.stranger.store(false);
    if (!hello.ok()) {
      report(from(peer, hello.error()));
      return;
    }
    switch (hello->purpose) {
      case auth::Purpose::rpc:
        return rpc::Session(fd, *hello, *calls_, replies_).run();
      case auth::Purpose::demand_reads:
      case auth::Purpose::bulk_reads:
        return LaneServer(fd, *reads_).run();
      case auth::Purpose::pool_link:
        if (options_.on_pool_link) return options_.on_pool_link(fd, *hello);
        static_cast<void>(stream.send(
            wire::make_frame(ErrorReply{Error(Errc::transport_unsupported, "a connection pool")}),
            deadline_in(options_.handshake_ms)));
    }
  }

  /// Who is at the other end; to be asked while somebody is.
  static std::string peer_of(int fd) {
    Address peer;
    peer.length = sizeof(peer.storage);
    const bool known =
        ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) == 0;
    return known ? peer.text() : "nobody any more";
  }
  static Error from(const std::string& peer, Error error) {
    error.subject.append(error.subject.empty() ? "from " : ", from ").append(peer.c_str());
    return error;
  }
  void report(const Error& error) {
    if (options_.on_refusal) options_.on_refusal(error);
  }
  void poke() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }

  Options options_;
  auth::Identity identity_;
  ReadService* reads_;
  rpc::Service* calls_;
  rpc::ReplyCache replies_;
  UniqueFd listener_;
  UniqueFd wake_;
  std::uint16_t port_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> open_{0};
  std::list<Connection> connections_;  ///< the acceptor's alone
  std::thread acceptor_;               ///< last: it uses all of the above
};

}  // namespace mitosis::tcp
