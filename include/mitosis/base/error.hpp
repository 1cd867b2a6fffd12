// SPDX-License-Identifier: MIT
// Error: what failed, where, at which step. World: any (freestanding); plain data, so that it can
// cross the wire and the kernel boundary. `describe` in base/describe.hpp makes the sentence.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/base/text.hpp>

namespace mitosis {

/// A failure. Only `code` must be set; the rest is context, filled in where it is known. Fluent
/// setters let the layer that knows a fact add it: `return error.at_machine(m).in("query")`.
struct Error {
  Errc code = Errc::ok;
  int os_errno = 0;                     ///< errno of the failed call, 0 where none failed
  MachineId machine = MachineId::none;  ///< where it failed; none = this machine
  std::uint64_t handler = 0;            ///< the handler concerned, 0 where none is
  std::uint64_t address = 0;            ///< the address concerned, 0 where none is
  Text<47> step;                        ///< what was being done: "query descriptor"
  Text<191> subject;                    ///< the thing concerned, by name: a path, a capability

  constexpr Error() noexcept = default;
  constexpr Error(Errc c) noexcept : code(c) {}  // NOLINT: a bare code is an error
  constexpr Error(Errc c, const char* about, int err = 0) noexcept
      : code(c), os_errno(err), subject(about) {}

  constexpr Error& at_machine(MachineId m) noexcept {
    if (machine == MachineId::none) machine = m;
    return *this;
  }
  constexpr Error& of_handler(HandlerId h) noexcept {
    if (handler == 0) handler = static_cast<std::uint64_t>(h);
    return *this;
  }
  constexpr Error& at_address(std::uint64_t a) noexcept {
    if (address == 0) address = a;
    return *this;
  }
  /// Names the step; the innermost name stays.
  constexpr Error& in(const char* s) noexcept {
    if (step.empty()) step.append(s);
    return *this;
  }
};

}  // namespace mitosis
