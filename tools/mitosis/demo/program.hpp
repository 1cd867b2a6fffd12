// SPDX-License-Identifier: MIT
// Program: a running copy of tools/demo/parent.py, started or resumed, and the talk with it.
// World: user.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <testbed/agent_process.hpp>
#include <testbed/process.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include "interrupt.hpp"

namespace mitosis::tools {

/// Owns the process. Every wait has a deadline, ends with the process and with Ctrl-C.
class Program {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds patience{30};

  /// Runs `spec` with pipes for input and output; `log` gets its standard error.
  static Result<Program> start(std::string name, testbed::ProcessSpec spec, std::string log) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0) return failure(name, "pipe", errno);
    UniqueFd in_read(in[0]), in_write(in[1]);
    if (::pipe2(out, O_CLOEXEC) != 0) return failure(name, "pipe", errno);
    UniqueFd out_read(out[0]), out_write(out[1]);
    const UniqueFd err(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!err) return failure(name, log, errno);
    spec.in = in_read.get();
    spec.out = out_write.get();
    spec.err = err.get();
    spec.grace = std::chrono::milliseconds(0);  // it has nothing to put in order
    const auto started = Clock::now();
    Result<testbed::Process> process = testbed::Process::start(spec);
    if (!process) return process.error();
    Program program(std::move(name), std::move(*process), std::move(log), started);
    program.in_ = std::move(in_write);
    program.out_ = std::move(out_read);
    return program;
  }

  /// Says one line and waits for the answer.
  Result<nlohmann::json> ask(const std::string& line) {
    if (auto said = say(line); !said) return said.error();
    return answer();
  }
  Result<void> say(const std::string& line) {
    const std::string whole = line + "\n";
    const auto size = static_cast<ssize_t>(whole.size());
    // Short lines into an empty pipe: never in parts, never blocking. SIGPIPE is ignored.
    if (::write(in_.get(), whole.data(), whole.size()) == size) return {};
    return ended("say " + line);
  }
  /// The next line of its output.
  Result<nlohmann::json> answer() {
    const auto deadline = Clock::now() + patience;
    std::size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      if (Interrupt::seen() != 0) return failure(name_, "interrupted", EINTR);
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) return Error(Errc::timed_out, log_line().c_str()).in(name_.c_str());
      pollfd readable = {out_.get(), POLLIN, 0};
      if (::poll(&readable, 1, static_cast<int>(left.count())) <= 0) continue;
      char bytes[4096];
      const ssize_t n = ::read(out_.get(), bytes, sizeof bytes);
      if (n == 0) return ended("wait for its answer");
      if (n > 0) buffer_.append(bytes, static_cast<std::size_t>(n));
    }
    auto parsed = nlohmann::json::parse(buffer_.substr(0, end), nullptr, false);
    buffer_.erase(0, end + 1);
    if (!parsed.is_object()) return failure(name_, "an answer that is not JSON", 0);
    return parsed;
  }
  /// Its end in order, with status 0.
  Result<void> quit() {
    if (auto said = say("quit"); !said) return said.error();
    const auto status = process_.wait(Clock::now() + patience);
    if (status && *status == 0) return {};
    return ended("quit");
  }

  [[nodiscard]] int pid() const noexcept { return process_.pid(); }
  /// Milliseconds from its start to a moment that it told, CLOCK_MONOTONIC in seconds.
  [[nodiscard]] double ms_until(double moment) const {
    const std::chrono::duration<double> start = started_.time_since_epoch();
    return (moment - start.count()) * 1e3;
  }

 private:
  Program(std::string name, testbed::Process process, std::string log, Clock::time_point started)
      : name_(std::move(name)),
        process_(std::move(process)),
        log_(std::move(log)),
        started_(started) {}
  static Error failure(const std::string& name, const std::string& what, int err) {
    return Error(Errc::system_call_failed, what.c_str(), err).in(name.c_str());
  }
  [[nodiscard]] std::string log_line() const { return testbed::detail::last_line(log_); }
  /// Why it does not answer any more.
  Error ended(const std::string& during) {
    const auto status = process_.wait(Clock::now() + std::chrono::seconds(1));
    std::string what = during + ": ";
    if (status) what += "it ended with status " + std::to_string(testbed::shell_status(*status));
    what += ": " + log_line();
    return Error(Errc::connection_lost, what.c_str()).in(name_.c_str());
  }

  std::string name_;
  testbed::Process process_;
  std::string log_;
  Clock::time_point started_;
  UniqueFd in_, out_;
  std::string buffer_;
};

}  // namespace mitosis::tools
