// SPDX-License-Identifier: MIT
// UdNetwork: callers and a server over datagrams in virtual time, on a network that loses, copies,
// delays and reorders. World: sim.
#pragma once

#include <mitosis/net/rpc/ud/client_session.hpp>
#include <mitosis/net/rpc/ud/server_sessions.hpp>
#include <mitosis/net/sim/event_queue.hpp>
#include <mitosis/net/sim/random.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::test {

namespace ud = rpc::ud;
using ByteVector = std::vector<std::uint8_t>;

inline auth::Identity identity(std::uint32_t machine,
                               const std::string& secret = "0123456789abcdef") {
  const Bytes material(reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size());
  return {MachineId{machine},
          std::make_shared<const auth::Secret>(std::move(auth::Secret::from(material)).value())};
}

/// How packets travel. Chances are per million; times in nanoseconds.
struct Weather {
  std::uint32_t loss = 0;
  std::uint32_t copies = 0;
  std::uint64_t delay = 10'000;
  std::uint64_t jitter =
      0;  ///< up to so much more, each packet by itself: they overtake each other
};

/// One server, whose calls are answered by `execute` after `service_time`, and any number of
/// callers.
class UdNetwork {
 public:
  UdNetwork(std::uint64_t seed, Weather weather, ud::ServerOptions options = {})
      : weather(weather), random_(seed), options_(options) {
    restart_server();
  }

  struct Caller {
    std::unique_ptr<ud::ClientSession> session;
    ud::Way way;
    Time armed = Time::never;
  };

  Caller& add_caller(std::uint32_t machine, ud::ClientOptions options = {},
                     const std::string& secret = "0123456789abcdef", auth::ClientName name = {},
                     MachineId expected = MachineId{0}) {
    auto& caller = *callers_.emplace_back(std::make_unique<Caller>());
    if (name.id == 0) name.id = 1000 + callers_.size();
    caller.way.queue_pair = static_cast<std::uint32_t>(callers_.size());
    caller.session =
        std::make_unique<ud::ClientSession>(identity(machine, secret), expected, name, options);
    return caller;
  }
  /// Forgets all sessions without a word, as a crash does.
  void restart_server() { server = std::make_unique<ud::ServerSessions>(identity(0), options_); }

  /// Sends what a caller has to send, and sets its timer. After every step of it.
  void flush(Caller& caller) {
    for (ByteVector& bytes : caller.session->take_output()) {
      ++sent;
      travel([this, way = caller.way, bytes = std::move(bytes)] {
        ++arrived_at_server;
        server->on_datagram(way, Bytes(bytes.data(), bytes.size()), events.now());
        flush_server();
      });
    }
    const Time due = caller.session->due();
    if (due == caller.armed || due == Time::never) return;
    caller.armed = due;
    events.at(due, 2, [this, &caller] {
      caller.armed = Time::never;
      caller.session->on_time(events.now());
      flush(caller);
    });
  }
  void flush_server() {
    for (ud::ReadyCall& call : server->take_calls()) {
      ++executed[{call.hello.client, call.call}];
      events.after(service_time, 3, [this, call = std::move(call)] {
        server->reply(call.session, call.call, execute(call), events.now());
        flush_server();
      });
    }
    for (ud::OutgoingDatagram& out : server->take_output()) {
      travel([this, to = out.to, bytes = std::move(out.bytes)] {
        Caller& caller = *callers_[to.queue_pair - 1];
        caller.session->on_datagram(Bytes(bytes.data(), bytes.size()), events.now());
        flush(caller);
      });
    }
  }

  /// Steps until `done`, or until nothing happens any more or `limit` virtual time has passed.
  bool until(const std::function<bool()>& done, std::uint64_t limit = 100'000'000'000) {
    const Time end = events.now() + limit;
    while (!done()) {
      if (events.now() >= end || !events.step()) return done();
    }
    return true;
  }
  bool open(Caller& caller) {
    caller.session->open(events.now());
    flush(caller);
    until([&] { return caller.session->state() != ud::ClientSession::State::opening; });
    return caller.session->state() == ud::ClientSession::State::ready;
  }
  /// The reply, or nothing where the session has ended.
  std::optional<ByteVector> call(Caller& caller, std::uint64_t number, ByteVector request) {
    caller.session->call(number, std::move(request), events.now());
    flush(caller);
    std::optional<ByteVector> reply;
    until([&] {
      reply = caller.session->take_reply();
      return reply || caller.session->state() != ud::ClientSession::State::ready;
    });
    return reply;
  }

  sim::EventQueue events;
  Weather weather;
  std::uint64_t service_time = 2'000;
  std::function<ByteVector(const ud::ReadyCall&)> execute = [](const ud::ReadyCall& call) {
    return call.request;
  };
  std::unique_ptr<ud::ServerSessions> server;
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> executed;  ///< by client and call
  std::uint64_t sent = 0;
  std::uint64_t arrived_at_server = 0;

 private:
  void travel(std::function<void()> arrive) {
    const unsigned times = random_.chance(weather.loss)     ? 0
                           : random_.chance(weather.copies) ? 2
                                                            : 1;
    for (unsigned i = 0; i < times; ++i) {
      events.after(weather.delay + random_.below(weather.jitter + 1), 1, arrive);
    }
  }

  sim::Random random_;
  ud::ServerOptions options_;
  std::vector<std::unique_ptr<Caller>> callers_;
};

}  // namespace mitosis::test
