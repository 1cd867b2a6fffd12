// SPDX-License-Identifier: MIT
// UdServer: serves calls over datagrams, beside the server over TCP and with the same Service.
// World: user. One thread has the port and the sessions; calls that may wait are executed by
// others, those that cannot (a nil call) by itself, at once.
#pragma once

#include <sys/eventfd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/rpc/answers.hpp>
#include <mitosis/net/rpc/ud/server_sessions.hpp>
#include <mitosis/net/verbs/frame_buffer.hpp>
#include <mitosis/net/verbs/ud_port.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// `stop()` (also by the destructor) waits for the calls in progress and sends their replies, tells
/// every caller that its session is gone, and joins every thread. The service must outlive it.
class UdServer {
 public:
  struct Options {
    rpc::ud::ServerOptions sessions = {};
    unsigned threads = 8;        ///< for calls that may wait
    std::uint64_t spin_us = 50;  ///< without a packet, before the port's thread sleeps
    /// Why a handshake failed, or why nobody is served any more; its thread calls. May be empty.
    std::function<void(const Error&)> on_refusal = {};
  };

  static Result<std::unique_ptr<UdServer>> start(const ChosenGid& at, Options options,
                                                 auth::Identity self, rpc::Service& calls) {
    const std::size_t receives = options.sessions.max_sessions * (options.sessions.credits + 1) +
                                 options.sessions.max_strangers;
    Result<std::unique_ptr<UdPort>> port =
        UdPort::open(at, static_cast<std::uint32_t>(receives), /*sends=*/256, /*waits=*/false);
    if (!port.ok()) return port.error();
    options.sessions.datagram_bytes = (*port)->datagram_bytes();
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return Error(Errc::system_call_failed, "eventfd", errno).in("serve datagrams");
    std::unique_ptr<UdServer> server(new UdServer(std::move(*port), std::move(options),
                                                  std::move(self), calls, std::move(wake)));
    if (Result<void> run = server->start_threads(); !run.ok()) return run.error();
    return server;
  }
  UdServer(const UdServer&) = delete;
  UdServer& operator=(const UdServer&) = delete;
  ~UdServer() { stop(); }

  /// Idempotent; not to be called from the service.
  void stop() {
    end_workers();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    // What they have made is sent first.
    closing_.store(true);
    poke();
    if (port_thread_.joinable()) port_thread_.join();
  }
  /// Where callers reach it.
  [[nodiscard]] rpc::ud::Way way() const noexcept { return way_; }
  /// False: it is stopped, or its device has gone.
  [[nodiscard]] bool serves() const noexcept { return !closing_.load(); }
  [[nodiscard]] std::size_t sessions() const noexcept { return open_.load(); }

 private:
  struct Done {
    std::uint64_t session = 0;
    std::uint64_t call = 0;
    std::vector<std::uint8_t> reply;
  };

  UdServer(std::unique_ptr<UdPort> port, Options options, auth::Identity self, rpc::Service& calls,
           UniqueFd wake)
      : port_(std::move(port)),
        options_(std::move(options)),
        way_(port_->way()),
        sessions_(std::move(self), options_.sessions),
        service_(&calls),
        wake_(std::move(wake)) {}

  Result<void> start_threads() {
    try {
      for (unsigned i = 0; i < options_.threads; ++i) {
        workers_.emplace_back([this] { work(); });
      }
      port_thread_ = std::thread([this] { serve(); });
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return {};
  }
  void end_workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
  }
  void poke() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  }

  void serve();
  void sleep();
  void give_up(const Error& why);
  bool take_packets();
  void take_replies();
  void send_all();
  void work();

  /// Executes a call and makes its whole reply.
  Done execute(const rpc::ud::ReadyCall& call) {
    Done done{call.session, call.call, {}};
    FrameBuffer frames(Bytes(call.request.data(), call.request.size()));
    Result<wire::Frame> frame = frames.receive(options_.sessions.max_request);
    if (frame.ok() && (!frames.empty() || frame->header.request != call.call)) {
      frame = Error(Errc::bad_message, "not one request");
    }
    if (!frame.ok()) {
      wire::FrameHeader header;
      header.request = call.call;
      done.reply = wire::make_frame(ErrorReply{frame.error()}, header);
      return done;
    }
    rpc::Answers(call.hello, *service_, replies_)
        .answer(*frame, [&done](const std::vector<std::uint8_t>& part) {
          done.reply.insert(done.reply.end(), part.begin(), part.end());
          return true;
        });
    return done;
  }
  /// A nil call asks nobody.
  static bool never_waits(const rpc::ud::ReadyCall& call) noexcept {
    wire::Reader type(Bytes(call.request.data(), call.request.size()).sub(6));
    return type.integer<std::uint16_t>() == static_cast<std::uint16_t>(MessageType::nil);
  }

  std::unique_ptr<UdPort> port_;
  Options options_;
  rpc::ud::Way way_;
  rpc::ud::ServerSessions sessions_;  ///< the port thread's alone, as is the port
  rpc::Service* service_;
  rpc::ReplyCache replies_;
  UniqueFd wake_;
  std::atomic<bool> closing_{false};
  std::atomic<std::size_t> open_{0};

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<rpc::ud::ReadyCall> waiting_;  ///< guarded by mutex_, as is
  bool stopping_ = false;
  std::vector<Done> done_;
  std::atomic<bool> any_done_{false};
  std::vector<std::thread> workers_;
  std::thread port_thread_;  ///< last: it uses all of the above
};

inline void UdServer::serve() {
  Time spin_until = tcp::monotonic_now() + options_.spin_us * 1000;
  Time sweep = tcp::deadline_in(5000);
  while (!closing_.load()) {
    const Time now = tcp::monotonic_now();
    if (take_packets()) spin_until = now + options_.spin_us * 1000;
    take_replies();
    send_all();
    open_.store(sessions_.sessions());
    if (now >= sweep) {
      sessions_.on_time(now);
      port_->drop_events();
      sweep = tcp::deadline_in(5000);
    }
    if (now >= spin_until) sleep();
  }
  take_replies();
  sessions_.stop();
  send_all();
}

/// The device has gone: nobody can be served, and nobody told.
inline void UdServer::give_up(const Error& why) {
  if (options_.on_refusal && !closing_.load()) options_.on_refusal(why);
  end_workers();
  closing_.store(true);
}

inline bool UdServer::take_packets() {
  const Result<std::size_t> came = port_->receive([this](const rpc::ud::Way& from, Bytes datagram) {
    sessions_.on_datagram(from, datagram, tcp::monotonic_now());
  });
  if (!came.ok()) {
    give_up(came.error());
    return false;
  }
  std::vector<rpc::ud::ReadyCall> calls = sessions_.take_calls();
  for (rpc::ud::ReadyCall& call : calls) {
    if (never_waits(call)) {
      Done done = execute(call);
      sessions_.reply(done.session, done.call, std::move(done.reply), tcp::monotonic_now());
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(call));
    }
    work_.notify_one();
  }
  for (const Error& why : sessions_.take_refusals()) {
    if (options_.on_refusal) options_.on_refusal(why);
  }
  return *came > 0;
}

inline void UdServer::take_replies() {
  if (!any_done_.exchange(false)) return;
  std::vector<Done> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (Done& one : done) {
    sessions_.reply(one.session, one.call, std::move(one.reply), tcp::monotonic_now());
  }
}

inline void UdServer::send_all() {
  if (const Result<void> sent = port_->send_parked();
      !sent.ok() && sent.code() == Errc::connection_lost) {
    return give_up(sent.error());
  }
  for (const rpc::ud::OutgoingDatagram& out : sessions_.take_output()) {
    // What cannot be sent is lost; its caller asks again, or gives up in its time.
    const Result<void> sent = port_->send(out.to, Bytes(out.bytes.data(), out.bytes.size()));
    if (!sent.ok() && sent.code() == Errc::connection_lost) return give_up(sent.error());
  }
}

inline void UdServer::sleep() {
  if (Result<void> armed = port_->arm(); !armed.ok()) return give_up(armed.error());
  if (take_packets()) {
    send_all();
    return;
  }
  send_all();
  if (any_done_.load()) return;
  pollfd waiting[3] = {
      {port_->fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}, {port_->ways_fd(), POLLIN, 0}};
  static_cast<void>(::poll(waiting, 3, 1000));
  std::uint64_t pokes = 0;
  static_cast<void>(!::read(wake_.get(), &pokes, sizeof pokes));
}

inline void UdServer::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const rpc::ud::ReadyCall call = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Done done = execute(call);
    lock.lock();
    done_.push_back(std::move(done));
    any_done_.store(true);
    poke();
  }
}

}  // namespace mitosis::verbs
