// SPDX-License-Identifier: MIT
// ShadowFacts: what only the prepared process itself can tell about itself. World: user.
// The shadow fills it in with raw system calls and sends it as it is: plain bytes of one machine's
// two processes, checked by size and version alone.
#pragma once

#include <mitosis/fork/user/local/process_facts.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>
#include <type_traits>

namespace mitosis::local {

/// Room for the extended state that a cooperative prepare saves: an XSAVE area with its legacy part
/// and header only (x86-64: 512 + 64 bytes); all else is in its initial state.
inline constexpr std::uint32_t facts_xstate_bytes = 576;

struct ShadowFacts {
  static constexpr std::uint32_t current_version = 2;
  std::uint32_t version = current_version;
  std::uint32_t bytes = 0;  ///< sizeof(ShadowFacts) of the sender
  std::uint64_t brk = 0;    ///< brk(0), which /proc does not tell
  /// `xstate_offset` is 0 and `xstate_bytes` how many bytes of `xstate` count.
  descriptor::ThreadRecord thread = {};
  descriptor::SigactionRecord sigactions[64] = {};
  std::uint8_t xstate[facts_xstate_bytes] = {};
  ProcessFacts process;
};
static_assert(std::is_trivially_copyable_v<ShadowFacts>);
static_assert(sizeof(ShadowFacts) ==
              16 + 360 + 64 * 32 + facts_xstate_bytes + sizeof(ProcessFacts));

}  // namespace mitosis::local
