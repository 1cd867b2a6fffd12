// SPDX-License-Identifier: MIT
// Op: one system call of the program that replaces the address space. World: user.
// An ordinary launcher writes the ops, 300 bytes of machine code (arch/*/restore_blob.hpp) run
// them: so that code holds no logic, and what can be refused is refused while that is still easy.
#pragma once

#include <cstdint>

namespace mitosis::restore {

/// What a result has to be. Without a flag: no error (not in -4095..-1).
enum OpFlag : std::uint32_t {
  op_ignore = 1,      ///< anything will do
  op_equal = 2,       ///< `expect`, exactly
  op_store = 4,       ///< no error; its low 32 bits are written to `at`
  op_compare = 8,     ///< no error, and the 32 bits at `at` are `expect`; else no packet
  op_if_set = 16,     ///< with op_store: written only where something else than 0 is
  op_until_set = 32,  ///< anything will do, but it is repeated while the 32 bits at `at` are 0
  op_thread =
      64,  ///< no error; 0 is returned in a new thread, whose stack pointer is its OpProgram
};

struct Op {
  std::uint64_t nr = 0;  ///< system call number
  std::uint64_t args[6] = {};
  std::uint64_t expect = 0;
  std::uint64_t at = 0;
  std::uint64_t report = 0;  ///< OpReport to send when the result is not as it has to be
  std::uint64_t flags = 0;   ///< OpFlag
};
static_assert(sizeof(Op) == 88);

/// What is said when an op fails: a packet to the agent, prepared but for errno and the op's first
/// argument, and a line on standard error. All by address.
struct OpReport {
  std::uint64_t packet = 0, packet_bytes = 0;
  std::uint64_t line = 0, line_bytes = 0;
};

/// All that the blob knows: its ops, what to leave behind, and how to report a failure. One for
/// each thread; the last one to leave unmaps the scratch.
struct OpProgram {
  std::uint64_t first = 0, end = 0;              ///< Op[], by address
  std::uint64_t frame = 0;                       ///< stack pointer for the return into the child
  std::uint64_t scratch = 0, scratch_bytes = 0;  ///< unmapped last: the ops, their data, this
  std::uint64_t errno_at = 0, address_at = 0;    ///< offsets in every report's packet
  std::uint64_t socket = 0;                      ///< to the agent
  std::uint64_t left = 0;  ///< address of 32 bits: threads that are still here
};

/// What a child exits with that could not be restored after its launcher was unmapped.
inline constexpr int exit_not_restored = 125;

}  // namespace mitosis::restore
