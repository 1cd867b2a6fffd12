// SPDX-License-Identifier: MIT
// Session: dispatch, and the requests of a few lines. World: user. Included by session.hpp only.
#pragma once

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/session.hpp>

namespace mitosis::agent {

inline void Session::run() {
  constexpr std::chrono::hours idle{24};
  while (!done_) {
    auto packet = channel_.receive(local::within(idle));
    if (!packet) return;
    if (!serve(std::move(packet).value())) return;
  }
}

inline bool Session::serve(local::Packet packet) {
  const auto type = local::packet_type(Bytes(packet.bytes));
  Result<void> result;
  if (!type) {
    result = type.error();
  } else {
    switch (*type) {
      case local::LocalType::nil:
        result = reply(local::Done{});
        break;
      case local::LocalType::connect:
        result = connect(packet);
        break;
      case local::LocalType::reclaim:
        result = reclaim(packet);
        break;
      case local::LocalType::prepare:
        result = prepare(packet);
        break;
      case local::LocalType::prepare_process:
        result = prepare_process(packet);
        break;
      case local::LocalType::shadow_ready:
        become_lifeline(packet);
        return false;
      case local::LocalType::resume:
        result = resume(packet);
        break;
      case local::LocalType::spawn:
        result = spawn(std::move(packet));
        break;
      case local::LocalType::list:
        result = list(packet);
        break;
      case local::LocalType::stats:
        result = stats(packet);
        break;
      default:
        result = Error(Errc::bad_message, "not a request").in("local call");
    }
  }
  if (result) return true;
  worker_.refused_calls.add(result.error());
  return reply(local::Failed{result.error()}).ok();
}

inline Result<void> Session::connect(const local::Packet& packet) {
  auto message = local::decode_packet<local::Connect>(Bytes(packet.bytes));
  if (!message) return message.error();
  if (message->address.empty()) {
    if (auto r = worker_.peers->ping(message->machine); !r) return r;
    return reply(local::Done{});
  }
  // Whoever could name the machines could have other users' children read from a machine of his.
  if (packet.sender.uid != 0)
    return Error(Errc::not_permitted, "only root names machines").in("connect");
  if (auto r = worker_.peers->connect(message->machine, message->address); !r) return r;
  return reply(local::Done{});
}

inline Result<void> Session::reclaim(const local::Packet& packet) {
  auto message = local::decode_packet<local::Reclaim>(Bytes(packet.bytes));
  if (!message) return message.error();
  const bool here =
      message->machine == MachineId::none || message->machine == worker_.options.machine;
  Result<void> done;
  if (here) {
    done = worker_.parents.reclaim(message->handler, message->has_key ? &message->key : nullptr,
                                   packet.sender.uid);
  } else if (!message->has_key) {
    done = Error(Errc::wrong_key, "another machine's handler needs its key")
               .at_machine(message->machine)
               .of_handler(message->handler)
               .in("reclaim");
  } else {
    done = worker_.peers->reclaim(message->machine, message->handler, message->key);
  }
  return done ? reply(local::Done{}) : done;
}

}  // namespace mitosis::agent
