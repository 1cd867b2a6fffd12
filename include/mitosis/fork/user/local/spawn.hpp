// SPDX-License-Identifier: MIT
// The local messages of spawn: the agent makes the children itself. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/type.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::local {

enum SpawnFlag : std::uint32_t {
  /// Keep one resumed and frozen child, and clone the others from it. Not yet done by any agent:
  /// refused by name.
  spawn_local_template = 1,
  /// Each child in a pid namespace of its own with the parent's process and thread numbers, its own
  /// /proc, and a time namespace too.
  spawn_pid_namespace = 2,
  /// Each child in a time namespace of its own: its clocks go on from the parent's as of prepare.
  spawn_time_namespace = 4,
  /// Each child in a network namespace of its own, with nothing but a loopback.
  spawn_net_namespace = 8,
};

/// Makes `count` children with the caller's identity and with the file descriptors that come along
/// as their 0, 1 and 2 (none: /dev/null). -> Spawned, one or several
struct Spawn {
  static constexpr LocalType type = LocalType::spawn;
  MachineId machine = MachineId::none;
  HandlerId handler{};
  AuthKey key;
  std::string policy;
  std::uint32_t count = 1;
  std::uint32_t flags = 0;  ///< SpawnFlag
  template <class A>
  void fields(A& a) {
    a(machine, handler, key, policy, count, flags);
  }
};

/// Some of the children that were asked for; the packet's file descriptors are their pidfds, in the
/// same order. The next `Spawned` or `Failed` follows while `remaining` is not 0; after a `Failed`
/// the children told so far run on.
struct Spawned {
  static constexpr LocalType type = LocalType::spawned;
  std::vector<std::int32_t> pids;  ///< at most max_fds
  std::uint32_t remaining = 0;
  template <class A>
  void fields(A& a) {
    a(pids, remaining);
  }
};

/// An event, between any two packets of the connection that spawned: a child ended. A connection
/// that does not read them loses them once its buffer is full.
struct ChildExited {
  static constexpr LocalType type = LocalType::child_exited;
  std::int32_t pid = 0;
  std::int32_t status = 0;  ///< as of waitpid(2)
  template <class A>
  void fields(A& a) {
    a(pid, status);
  }
};

}  // namespace mitosis::local
