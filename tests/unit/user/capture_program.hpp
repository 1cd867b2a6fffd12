// SPDX-License-Identifier: MIT
// StoppedProgram: a forked child that has done what a test wants and then stopped. World: user
// (tests). It stands for a parent that waits in prepare, or for a parked shadow.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/capture/capture.hpp>

#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

namespace mitosis::capture::test {

/// A directory that goes with the test.
class Folder {
 public:
  Folder() { path_ = ::mkdtemp(path_.data()); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/mitosis-capture-XXXXXX";
};

class StoppedProgram {
 public:
  /// Runs `setup` in a child with only its standard streams open, until the child stops.
  explicit StoppedProgram(const std::function<void()>& setup) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close_range(3, ~0u, 0);
      setup();
      ::raise(SIGSTOP);
      ::_exit(0);
    }
    int status = 0;
    stopped_ = ::waitpid(pid_, &status, WUNTRACED) == pid_ && WIFSTOPPED(status);
  }
  StoppedProgram(const StoppedProgram&) = delete;
  StoppedProgram& operator=(const StoppedProgram&) = delete;
  ~StoppedProgram() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  /// False where the setup itself failed.
  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool stopped_ = false;
};

/// Checks a program that has done `setup`; the sentence that a user would read, or "".
inline std::string refusal(const std::function<void()>& setup) {
  const StoppedProgram program(setup);
  EXPECT_TRUE(program.stopped());
  const auto facts = check_parent(program.pid());
  return facts ? "" : describe(facts.error());
}

/// What a shadow would have said; enough for a descriptor that parses.
inline local::ShadowFacts plausible_facts(pid_t pid) {
  local::ShadowFacts facts;
  facts.bytes = sizeof(facts);
  descriptor::MmRecord mm = {};
  const auto process = open_process(pid);
  if (process) {
    const auto text = read_at(process->get(), "stat", 1u << 16);
    if (text) (void)parse_stat(view(*text), mm);
  }
  facts.brk = mm.start_brk;
  return facts;
}

}  // namespace mitosis::capture::test
