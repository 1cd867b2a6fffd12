// SPDX-License-Identifier: MIT
// run_command: the built `mitosis` as a user runs it, with what it printed. World: user.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <mitosis/base/describe.hpp>
#include <testbed/process.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::tools {

struct Outcome {
  int status = -1;  ///< as a shell tells it; -1: it did not end in time
  std::string out, err;
};

namespace detail {
inline std::string whole(int memfd) {
  std::string text;
  char bytes[4096];
  ssize_t n;
  off_t at = 0;
  while ((n = ::pread(memfd, bytes, sizeof bytes, at)) > 0) {
    text.append(bytes, static_cast<std::size_t>(n));
    at += n;
  }
  return text;
}
}  // namespace detail

/// A socket that no agent listens on.
inline constexpr const char* no_agent = "/nonexistent/mitosis/agent.sock";

/// Runs argv[0] by its path and the rest; `environment` on top of ours, without a running agent.
inline Outcome run_program(std::vector<std::string> argv, std::vector<std::string> environment) {
  const UniqueFd out(::memfd_create("out", MFD_CLOEXEC)), err(::memfd_create("err", MFD_CLOEXEC));
  testbed::ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.environment = std::move(environment);
  spec.environment.push_back(std::string("MITOSIS_SOCKET=") + no_agent);
  spec.environment.emplace_back("MITOSIS_KEY=");
  spec.out = out.get();
  spec.err = err.get();
  auto process = testbed::Process::start(spec);
  Outcome outcome;
  if (!process) {
    outcome.err = describe(process.error());
    return outcome;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  if (const auto status = process->wait(deadline)) outcome.status = testbed::shell_status(*status);
  outcome.out = detail::whole(out.get());
  outcome.err = detail::whole(err.get());
  return outcome;
}

inline Outcome run_command(std::vector<std::string> arguments,
                           std::vector<std::string> environment = {}) {
  arguments.insert(arguments.begin(), MITOSIS_COMMAND);
  return run_program(std::move(arguments), std::move(environment));
}

/// An error is one line that starts with `start`.
inline testing::AssertionResult is_one_line(const std::string& text, const std::string& start) {
  if (text.starts_with(start) && std::count(text.begin(), text.end(), '\n') == 1) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "not one line from `" << start << "` on: " << text;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace mitosis::tools
