// SPDX-License-Identifier: MIT
// Puppet: the driver's end of a puppet (puppet/puppet.c): says a line, waits for the answer.
// World: user. Every wait has a deadline, so no test hangs; none is short, because the machine may
// be busy with much else.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <testbed/process.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::live {

using Clock = std::chrono::steady_clock;
inline constexpr std::chrono::seconds patience{60};

/// Owns a process and both ends of its standard streams that are ours. Ended by its destructor.
class Puppet {
 public:
  /// Starts `argv` with `environment` in a network namespace (-1: the caller's); standard error
  /// goes to `errors`, a descriptor, or to ours. Throws what gtest reports as a failure.
  static Puppet start(std::vector<std::string> argv, std::vector<std::string> environment,
                      int network, int errors = 2) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) {
      throw std::runtime_error("pipe2");
    }
    const UniqueFd its_in(in[0]), its_out(out[1]);
    testbed::ProcessSpec spec;
    spec.argv = std::move(argv);
    spec.environment = std::move(environment);
    spec.network = network;
    spec.in = its_in.get();
    spec.out = its_out.get();
    spec.err = errors;
    spec.grace = std::chrono::milliseconds(0);
    Puppet puppet{UniqueFd(in[1]), UniqueFd(out[0])};
    auto process = testbed::Process::start(spec);
    if (!process) throw std::runtime_error(describe(process.error()));
    puppet.process_ = std::move(*process);
    return puppet;
  }

  /// Says a line. Whoever is gone does not hear it.
  void tell(const std::string& line) {
    const std::string text = line + "\n";
    (void)!::write(in_.get(), text.data(), text.size());
  }
  /// The next line; "ended" once it has closed its output, "silent" when the deadline passes.
  std::string hear(Clock::time_point deadline = Clock::now() + patience) {
    while (true) {
      const std::size_t end = heard_.find('\n');
      if (end != std::string::npos) {
        std::string line = heard_.substr(0, end);
        heard_.erase(0, end + 1);
        return line;
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      pollfd ready = {out_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) == 0) {
        return "silent";
      }
      char bytes[4096];
      const ssize_t n = ::read(out_.get(), bytes, sizeof bytes);
      if (n <= 0) return "ended";
      heard_.append(bytes, static_cast<std::size_t>(n));
    }
  }
  std::string ask(const std::string& line) {
    tell(line);
    return hear();
  }
  /// No more lines: it checks its memory and exits.
  void close() { in_.reset(); }
  /// Its exit status as a shell tells it; -1 where it still runs after `limit`.
  int end(std::chrono::milliseconds limit = patience) {
    close();
    const auto status = process_->wait(Clock::now() + limit);
    return status ? testbed::shell_status(*status) : -1;
  }
  [[nodiscard]] testbed::Process& process() noexcept { return *process_; }

 private:
  Puppet(UniqueFd in, UniqueFd out) : in_(std::move(in)), out_(std::move(out)) {}
  UniqueFd in_, out_;
  std::string heard_;
  std::optional<testbed::Process> process_;
};

/// What is left of the answer to a word: "parent KEY" is {"parent", "KEY"}.
inline std::pair<std::string, std::string> split(const std::string& answer) {
  const std::size_t space = answer.find(' ');
  if (space == std::string::npos) return {answer, ""};
  return {answer.substr(0, space), answer.substr(space + 1)};
}

}  // namespace mitosis::live
