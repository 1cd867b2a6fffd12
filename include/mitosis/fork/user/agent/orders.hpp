// SPDX-License-Identifier: MIT
// What the worker and the keeper say to each other. World: user. Plain data over a SOCK_SEQPACKET
// pair between two processes of one binary that share their descriptor table: numbers suffice.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/agent/namespaces.hpp>

#include <cstdint>

namespace mitosis::agent {

/// Whose identity a spawned child takes on: its caller's, never the agent's.
struct Identity {
  static constexpr std::uint32_t max_groups = 64;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t group_count = 0;
  std::uint32_t groups[max_groups] = {};
};

/// Worker to keeper: fork a process that resumes over `channel`, with these as its 0, 1 and 2.
struct SpawnOrder {
  std::uint64_t ticket = 0;
  std::int32_t stdio[3] = {-1, -1, -1};
  std::int32_t channel = -1;
  Identity identity;
  MachineId machine = MachineId::none;
  HandlerId handler{};
  AuthKey key;
  char policy[64] = {};
  Namespaces namespaces;
};

/// Keeper to worker: the process of `ticket` runs (`status` 0), could not be made (`status` is an
/// errno, pid 0), or has ended (`exited`, `status` as wait(2) gives it).
struct SpawnNotice {
  std::uint64_t ticket = 0;
  std::int32_t pid = 0;
  std::int32_t pidfd = -1;
  std::int32_t status = 0;
  std::uint32_t exited = 0;
  char step[92] = {};  ///< what has failed
};

}  // namespace mitosis::agent
