// SPDX-License-Identifier: MIT
// Local messages without a family of their own: replies, connect, reclaim, statistics. World: user.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/type.hpp>

#include <cstdint>
#include <string>

namespace mitosis::local {

/// It was done, there is nothing to tell.
struct Done {
  static constexpr LocalType type = LocalType::done;
  template <class A>
  void fields(A&) {}
};

/// The reply to any request that was not carried out; nothing half-done is left behind.
struct Failed {
  static constexpr LocalType type = LocalType::failed;
  Error error;
  template <class A>
  void fields(A& a) {
    a(error);
  }
};

/// Does nothing: tells that the agent answers, and what a local call costs. -> Done
struct Nil {
  static constexpr LocalType type = LocalType::nil;
  template <class A>
  void fields(A&) {}
};

/// Makes `machine` known as the agent at `address` ("host:port", "[v6]:port", or a gid), reached
/// through the nic numbered `nic`, and opens a session to it. Needs privilege, unless the address
/// is empty: then a machine that is known already is called, and nothing is changed. -> Done
struct Connect {
  static constexpr LocalType type = LocalType::connect;
  MachineId machine = MachineId::none;
  std::uint32_t nic = 0;
  std::string address;
  template <class A>
  void fields(A& a) {
    a(machine, nic, address);
  }
};

/// Ends a prepared parent's life, here (`MachineId::none`) or on another machine, where the key is
/// needed. Its owner needs no key here. Access to its pages ends before the reply. -> Done
struct Reclaim {
  static constexpr LocalType type = LocalType::reclaim;
  MachineId machine = MachineId::none;
  HandlerId handler{};
  bool has_key = false;
  AuthKey key;
  template <class A>
  void fields(A& a) {
    a(machine, handler, has_key, key);
  }
};

/// The agent's counters. -> StatsText
struct Stats {
  static constexpr LocalType type = LocalType::stats;
  template <class A>
  void fields(A&) {}
};
struct StatsText {
  static constexpr LocalType type = LocalType::stats_text;
  std::string json;
  template <class A>
  void fields(A& a) {
    a(json);
  }
};

}  // namespace mitosis::local
