// SPDX-License-Identifier: MIT
// What the tests of captures by ptrace share: a program that notices what is done to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/capture/trace/freeze.hpp>

#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "capture_fake_agent.hpp"

namespace mitosis::capture::test {

/// An agent that always agrees; or runs what a test wants to happen at that moment.
struct Agrees {
  std::function<Result<void>()> at_stop = [] { return Result<void>(); };
  std::function<Result<void>()> at_verdict = [] { return Result<void>(); };
  Result<void> all_stopped() const { return at_stop(); }
  Result<void> verdict() const { return at_verdict(); }
};

/// The program trace_target, or any other, with its standard streams in our hands.
class Target {
 public:
  explicit Target(const char* path = TRACE_TARGET) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
      ::execl(path, path, nullptr);
      ::_exit(127);
    }
    in_ = UniqueFd(in[1]);
    out_ = UniqueFd(out[0]);
    ::close(in[0]);
    ::close(out[1]);
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  ~Target() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, static_cast<int>(__WALL));
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// What it has to say: "name rounds faults errno;" for each of its threads. Empty: it is gone.
  std::string report() {
    std::string line;
    if (::write(in_.get(), "\n", 1) != 1) return line;
    for (char c = 0; ::read(out_.get(), &c, 1) == 1 && c != '\n';) line.push_back(c);
    return line;
  }
  struct Kind {
    std::string name;
    long rounds = 0, faults = 0;
    int error = 0;
  };
  std::vector<Kind> kinds() {
    std::vector<Kind> all;
    std::istringstream line(report());
    for (Kind kind; line >> kind.name >> kind.rounds >> kind.faults >> kind.error;) {
      all.push_back(kind);
      line.ignore(1);
    }
    return all;
  }
  /// Each thread does something without a fault, from now on, within ten seconds.
  void expect_well() {
    const auto before = kinds();
    ASSERT_EQ(before.size(), 11u) << "it is gone";
    std::vector<Kind> after;
    const auto moved = [&] {
      after = kinds();
      if (after.size() != before.size()) return true;
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (after[i].rounds == before[i].rounds) return false;
      }
      return true;
    };
    for (int i = 0; i < 1000 && !moved(); ++i) ::usleep(10'000);
    ASSERT_EQ(after.size(), before.size()) << "it is gone";
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_GT(after[i].rounds, before[i].rounds) << after[i].name;
      EXPECT_EQ(after[i].faults, 0) << after[i].name << ": " << ::strerror(after[i].error);
    }
  }
  [[nodiscard]] std::string text(const char* name) const {
    const auto process = open_process(pid_);
    const auto text = process ? read_at(process->get(), name, 1u << 20) : process.error();
    return text ? std::string(view(*text)) : "";
  }
  [[nodiscard]] std::size_t entries(const char* directory) const {
    std::size_t count = 0;
    const std::string path = "/proc/" + std::to_string(pid_) + "/" + directory;
    for (const auto& entry : std::filesystem::directory_iterator(path)) count += entry.exists();
    return count;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd in_, out_;
};

/// A thread may start another while it is being counted: waits until all twelve are there.
inline void wait_for_threads(const Target& target, std::size_t threads) {
  for (int i = 0; i < 1000 && target.entries("task") != threads; ++i) ::usleep(10'000);
  ASSERT_EQ(target.entries("task"), threads);
}

inline Lifeline lifeline(std::uint64_t nonce) {
  Lifeline to;
  const auto address = local::detail::socket_address(local::socket_path());
  EXPECT_TRUE(address.ok());
  to.agent = *address;
  to.nonce = nonce;
  return to;
}

inline constexpr std::size_t all_threads = 13;  // main, eleven kinds, the one that tells

}  // namespace mitosis::capture::test
