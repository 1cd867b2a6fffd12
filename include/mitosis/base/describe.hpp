// SPDX-License-Identifier: MIT
// describe(Error): the sentence that a user reads. World: user.
#pragma once

#include <fmt/format.h>

#include <mitosis/base/error.hpp>

#include <cerrno>
#include <cstring>
#include <string>

namespace mitosis {

/// What the user can do about it, where the system's reason tells more than the code.
inline const char* remedy(const Error& error) noexcept {
  if (error.code == Errc::file_missing && error.os_errno == EADDRINUSE) {
    return "end what has that address on this machine, or give the child a network of its own: "
           "`--netns`";
  }
  return remedy(error.code);
}

/// "resume: machine 3: handler 73: query descriptor: no such handler is prepared (…); list …".
/// What failed, where, at which step, what to do; parts that are unknown are left out.
inline std::string describe(const Error& error) {
  std::string text;
  if (error.machine != MachineId::none) {
    text += fmt::format("machine {}: ", static_cast<std::uint32_t>(error.machine));
  }
  if (error.handler != 0) text += fmt::format("handler {}: ", error.handler);
  if (error.address != 0) text += fmt::format("address {:#x}: ", error.address);
  if (!error.step.empty()) text += fmt::format("{}: ", error.step.c_str());
  text += words(error.code);
  if (!error.subject.empty()) text += fmt::format(": {}", error.subject.c_str());
  if (error.os_errno != 0) text += fmt::format(" ({})", std::strerror(error.os_errno));
  if (*remedy(error) != '\0') text += fmt::format("; {}", remedy(error));
  return text;
}

}  // namespace mitosis
