// SPDX-License-Identifier: MIT
// Talker: a program that answers lines with lines: a parent, or a child once resumed. World: user.
// Its standard streams are the only files that it has open, so that it can be prepared.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <harness/clock.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <testbed/process.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace bench {

using mitosis::UniqueFd;

/// Owns the program. An answer is one line of words; the first is "ok" where it was done.
class Talker {
 public:
  static constexpr std::chrono::seconds patience{30};

  /// Nothing where the program could not be started; says why on stderr. `waiting`: a page that
  /// fills its stdin is there before it starts, see `taken_ns`.
  static std::optional<Talker> start(mitosis::testbed::ProcessSpec spec, bool waiting = false) {
    int down[2], up[2];
    if (::pipe2(down, O_CLOEXEC) != 0) return std::nullopt;
    UniqueFd in(down[0]), to(down[1]);
    if (::pipe2(up, O_CLOEXEC) != 0) return std::nullopt;
    UniqueFd from(up[0]), out(up[1]);
    const std::string page(4096, '\n');
    if (waiting && (::fcntl(to.get(), F_SETPIPE_SZ, page.size()) != int(page.size()) ||
                    ::write(to.get(), page.data(), page.size()) != ssize_t(page.size()))) {
      return std::nullopt;
    }
    spec.in = in.get();
    spec.out = out.get();
    spec.err = STDERR_FILENO;
    auto process = mitosis::testbed::Process::start(spec);
    if (!process) return std::nullopt;
    return Talker(std::move(*process), std::move(to), std::move(from));
  }

  /// The next line, whole; nothing at the program's end or after the patience.
  std::optional<std::string> line() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (const std::size_t end = text_.find('\n'); end != std::string::npos) {
        std::string found = text_.substr(0, end);
        text_.erase(0, end + 1);
        return found;
      }
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd ready = {from_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) return {};
      char buffer[512];
      const ssize_t n = ::read(from_.get(), buffer, sizeof buffer);
      if (n <= 0) return std::nullopt;
      text_.append(buffer, static_cast<std::size_t>(n));
    }
  }

  /// When (CLOCK_MONOTONIC) the page that was waiting for it has been read.
  std::optional<std::int64_t> taken_ns() {
    pollfd room = {to_.get(), POLLOUT, 0};
    constexpr int most = std::chrono::milliseconds(patience).count();
    if (::poll(&room, 1, most) != 1 || (room.revents & POLLOUT) == 0) return std::nullopt;
    return now_ns();
  }

  /// The answer's words after "ok"; nothing where it is another.
  std::optional<std::vector<std::string>> answer() {
    const std::optional<std::string> got = line();
    if (!got) {
      const auto status = process_.wait(std::chrono::steady_clock::now());
      ::dprintf(STDERR_FILENO, "benchmark: process %d says nothing: %s %d\n", process_.pid(),
                status ? "it ended with status" : "it still runs,",
                status ? mitosis::testbed::shell_status(*status) : 0);
      return std::nullopt;
    }
    std::istringstream words(*got);
    std::vector<std::string> all;
    for (std::string word; words >> word;) all.push_back(word);
    if (all.empty() || all[0] != "ok") {
      ::dprintf(STDERR_FILENO, "benchmark: process %d: %s\n", process_.pid(), got->c_str());
      return std::nullopt;
    }
    all.erase(all.begin());
    return all;
  }

  std::optional<std::vector<std::string>> ask(const std::string& question) {
    const std::string sent = question + "\n";
    if (::write(to_.get(), sent.data(), sent.size()) != static_cast<ssize_t>(sent.size()))
      return {};
    return answer();
  }

  [[nodiscard]] int pid() const noexcept { return process_.pid(); }
  [[nodiscard]] mitosis::testbed::Process& process() noexcept { return process_; }

  /// Closes its stdin and waits; true where it exits with 0.
  bool finish() {
    to_.reset();
    const auto status = process_.wait(std::chrono::steady_clock::now() + patience);
    if (status == 0) return true;
    ::dprintf(STDERR_FILENO, "benchmark: process %d does not end in order: status %d\n",
              process_.pid(), status ? mitosis::testbed::shell_status(*status) : -1);
    return false;
  }

 private:
  Talker(mitosis::testbed::Process process, UniqueFd to, UniqueFd from)
      : process_(std::move(process)), to_(std::move(to)), from_(std::move(from)) {}
  mitosis::testbed::Process process_;
  UniqueFd to_, from_;
  std::string text_;
};

}  // namespace bench
