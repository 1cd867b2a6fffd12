// SPDX-License-Identifier: MIT
// The local messages of a resume, between the process that is taken over and its agent. World:
// user.
//
//   launcher -> agent   Resume
//   agent -> launcher   ResumeOffer|Failed   + fds: descriptor, /dev/userfaultfd, [cache]
//   of a tree's root: launcher -> agent   Members   + fds: the other members' connections
//                     agent -> launcher   Done|Failed
//   launcher -> agent   Adopt                + fd: a new userfaultfd, nothing registered yet
//   agent -> launcher   Adopted|Failed
//   restorer -> agent   Mapped               all of the parent's memory is mapped and registered
//   agent -> restorer   Go|Failed            the child runs, or exits with 125
// The connection is closed by the restorer after Go; its earlier end is a failed resume.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/type.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::local {

/// The sender wants to become a child of `handler` on `machine` (none: this one). -> ResumeOffer
struct Resume {
  static constexpr LocalType type = LocalType::resume;
  MachineId machine = MachineId::none;
  HandlerId handler{};
  AuthKey key;
  std::string policy;  ///< empty: the one that it was prepared with
  template <class A>
  void fields(A& a) {
    a(machine, handler, key, policy);
  }
};

/// Everything that the launcher needs; both sides compute the same layout from the descriptor.
/// File descriptors, in this order: the descriptor (a sealed memfd of `descriptor_bytes`),
/// /dev/userfaultfd open for USERFAULTFD_IOC_NEW, if `has_cache` the cache's memfd, and a memfd for
/// each of the descriptor's shared objects, with its content.
struct ResumeOffer {
  static constexpr LocalType type = LocalType::resume_offer;
  Generation generation{};
  std::uint64_t descriptor_bytes = 0;
  bool has_cache = false;
  std::uint32_t shared_objects = 0;
  std::string policy;  ///< in its canonical form
  std::string socket;  ///< this agent's, absolute: the child's memory knows its parent's machine's
  MachineId parent = MachineId::none;   ///< where the handler was prepared
  MachineId machine = MachineId::none;  ///< this agent's
  std::uint64_t instance = 0;           ///< the child's number here
  template <class A>
  void fields(A& a) {
    a(generation, descriptor_bytes, has_cache, shared_objects, policy, socket, parent, machine,
      instance);
  }
};

/// A tree's root hands over connections, one for each of the other members that have not ended, in
/// their order: each is resumed over its own, by the same messages. None runs before all can. ->
/// Done
struct Members {
  static constexpr LocalType type = LocalType::members;
  std::uint32_t count = 0;
  template <class A>
  void fields(A& a) {
    a(count);
  }
};

/// Hands the child's userfaultfd over (the one file descriptor). -> Adopted
struct Adopt {
  static constexpr LocalType type = LocalType::adopt;
  /// Indices of private_file VMAs whose file is missing or different here, ascending: their pages
  /// come from the parent's machine.
  std::vector<std::uint32_t> carried;
  template <class A>
  void fields(A& a) {
    a(carried);
  }
};
/// The agent can serve the child; it may map and register.
struct Adopted {
  static constexpr LocalType type = LocalType::adopted;
  template <class A>
  void fields(A&) {}
};

/// Sent by the restorer, which has nothing but these bytes. -> Go
struct Mapped {
  static constexpr LocalType type = LocalType::mapped;
  template <class A>
  void fields(A&) {}
};
/// The child may run its first instruction.
struct Go {
  static constexpr LocalType type = LocalType::go;
  template <class A>
  void fields(A&) {}
};

}  // namespace mitosis::local
