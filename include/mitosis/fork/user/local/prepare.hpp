// SPDX-License-Identifier: MIT
// The local messages of prepare. World: user.
//
//   program -> agent   Prepare          just before clone(); the agent checks the program meanwhile
//                                       (with several threads: it waits, and the agent clones it)
//   agent -> program   Prepared|Failed  the program goes on, or kills its shadow
//   shadow -> agent    ShadowReady      on a new connection, the lifeline: its end is the shadow's
//
//   anybody -> agent   PrepareProcess   the agent captures another process by ptrace
//   agent -> anybody   ProcessPrepared|Failed
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/type.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::local {

/// What of a prepared parent's life is not as usual. The first is the agent's to allow.
enum PrepareFlag : std::uint32_t {
  /// Resumed without a key, by every user of every machine of the cluster. As the original
  /// interface has it; refused unless the agent runs with --keyless.
  prepare_keyless = 1,
  /// Ends with the process that prepared it, whatever its lease says.
  prepare_ends_with_caller = 2,
  /// No lease ends it: stays until it is reclaimed or the agent ends.
  prepare_pinned = 4,
  /// Open files that cannot come along are left out, and told.
  prepare_lossy = 8,
};

/// The sender (by its SCM_CREDENTIALS) wants to be prepared. -> Prepared
struct Prepare {
  static constexpr LocalType type = LocalType::prepare;
  HandlerId handler{};
  std::uint64_t nonce = 0;  ///< random; the shadow shows it
  std::string policy;       ///< empty: the agent's default
  /// The sender's own connections to agents: not captured, a child's library opens its own.
  std::vector<std::int32_t> own_fds;
  std::uint32_t flags = 0;  ///< PrepareFlag
  /// A CallerThread: the sender has several threads, and waits; the agent stops and clones it.
  /// Empty: it has one, and clones itself.
  std::vector<std::uint8_t> caller;
  template <class A>
  void fields(A& a) {
    a(handler, nonce, policy, own_fds, flags, caller);
  }
};

/// The parent may go on. A resume that comes before the shadow is ready waits for it.
struct Prepared {
  static constexpr LocalType type = LocalType::prepared;
  AuthKey key;
  Generation generation{};
  std::int32_t shadow = 0;  ///< of the program, to be buried, where the agent has made it; else 0
  std::vector<std::string> dropped;  ///< what does not come along, a sentence each
  template <class A>
  void fields(A& a) {
    a(key, generation, shadow, dropped);
  }
};

/// The sender is the shadow of the prepare with this nonce; from now on it only waits for the
/// connection's end. The agent sends nothing back, ever. May arrive before the agent has read
/// everything about the parent.
struct ShadowReady {
  static constexpr LocalType type = LocalType::shadow_ready;
  std::uint64_t nonce = 0;
  std::vector<std::uint8_t> facts;  ///< a ShadowFacts
  template <class A>
  void fields(A& a) {
    a(nonce, facts);
  }
};

/// Another process is to be prepared, that need not know of it. It must be the sender's to trace,
/// by ptrace's access rule. -> ProcessPrepared
struct PrepareProcess {
  static constexpr LocalType type = LocalType::prepare_process;
  std::int32_t pid = 0;
  HandlerId handler{};
  std::string policy;  ///< empty: the agent's default
  bool alone = false;  ///< without the processes that it has made, as by fork()
  bool lossy = false;  ///< prepare_lossy
  template <class A>
  void fields(A& a) {
    a(pid, handler, policy, alone, lossy);
  }
};

/// It can be resumed.
struct ProcessPrepared {
  static constexpr LocalType type = LocalType::process_prepared;
  AuthKey key;
  Generation generation{};
  std::uint32_t threads = 0;         ///< of all its processes
  std::uint64_t stopped_ns = 0;      ///< how long the process stood still
  std::uint32_t processes = 1;       ///< itself and those that it has made
  std::vector<std::string> dropped;  ///< what does not come along, a sentence each
  template <class A>
  void fields(A& a) {
    a(key, generation, threads, stopped_ns, processes, dropped);
  }
};

}  // namespace mitosis::local
