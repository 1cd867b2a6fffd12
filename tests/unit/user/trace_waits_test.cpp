// SPDX-License-Identifier: MIT
// freeze: a wait that was interrupted before goes on in the copy too, and one whose process cannot
// be cloned is not disturbed at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/capture/trace/freeze.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <string>

#include "capture_fake_agent.hpp"

namespace mitosis::capture {
namespace {

using test::FakeAgent;
using testing::HasSubstr;

struct Agrees {
  static Result<void> all_stopped() { return {}; }
  static Result<void> verdict() { return {}; }
};

Lifeline lifeline(std::uint64_t nonce) {
  const auto address = local::detail::socket_address(local::socket_path());
  EXPECT_TRUE(address.ok());
  Lifeline to;
  to.agent = *address;
  to.nonce = nonce;
  return to;
}

/// A process in one system call, whose answer it tells.
class Waiting {
 public:
  explicit Waiting(const std::function<long()>& wait) {
    int out[2];
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const long answer = wait() < 0 ? -errno : 0;
      (void)!::write(out[1], &answer, sizeof answer);
      ::pause();
    }
    out_ = UniqueFd(out[0]);
    ::close(out[1]);
    // Until it sleeps in the kernel.
    for (int i = 0; i < 1000 && number_of_call() <= 0; ++i) ::usleep(10'000);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool has_answered(int milliseconds) const {
    pollfd ready{out_.get(), POLLIN, 0};
    return ::poll(&ready, 1, milliseconds) == 1;
  }
  [[nodiscard]] long answer() const {
    long answer = -1;
    EXPECT_TRUE(has_answered(10'000));
    EXPECT_EQ(::read(out_.get(), &answer, sizeof answer), ssize_t{sizeof answer});
    return answer;
  }

 private:
  /// /proc/PID/syscall: -1 or "running" where it is in none; read(2) and write(2) are not waits.
  [[nodiscard]] long number_of_call() const {
    const auto process = open_process(pid_);
    const auto text = process ? read_at(process->get(), "syscall", 4096) : process.error();
    std::string_view words = text ? view(*text) : std::string_view();
    return number<long>(take_until(words, ' ')).value_or(-1);
  }
  pid_t pid_ = 0;
  UniqueFd out_;
};

constexpr timespec a_minute = {60, 0};

struct Wait {
  long number;
  std::function<long()> call;
};

TEST(FreezeAgain, ACopyEntersTheCallItselfNotItsRestart) {
  static int word = 7;
  static pollfd nothing = {-1, 0, 0};
  const Wait waits[] = {
      {SYS_nanosleep, [] { return ::syscall(SYS_nanosleep, &a_minute, nullptr); }},
      {SYS_clock_nanosleep, [] { return static_cast<long>(::sleep(60)); }},
      {SYS_clock_nanosleep,
       [] { return ::syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &a_minute, nullptr); }},
      {SYS_poll, [] { return static_cast<long>(::poll(&nothing, 1, 60'000)); }},
      {SYS_poll, [] { return ::syscall(SYS_poll, nullptr, 0, 60'000); }},
      {SYS_futex,
       [] { return ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &a_minute, nullptr, 0); }}};
  FakeAgent agent;
  std::uint64_t nonce = 0;
  for (const Wait& wait : waits) {
    const Waiting target(wait.call);
    for (int round = 0; round < 3; ++round) {
      const Agrees agrees;
      const auto frozen = freeze(target.pid(), lifeline(++nonce), agrees);
      ASSERT_TRUE(frozen.ok()) << describe(frozen.error());
      EXPECT_EQ(frozen->threads[0].record.registers[arch::reg_rax],
                static_cast<std::uint64_t>(wait.number))
          << "round " << round;
      const auto shadow = agent.take_shadow();
      ASSERT_TRUE(shadow.has_value());
      ::kill(shadow->pid, SIGKILL);
    }
    EXPECT_FALSE(target.has_answered(0)) << "the call ended";
  }
}

/// A system call's registers that code does not tell: made up as the kernel would show them.
arch::Registers in_call(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
  arch::Registers r = {};
  r[arch::reg_rdi] = a, r[arch::reg_rsi] = b, r[arch::reg_rdx] = c, r[arch::reg_r10] = d;
  return r;
}

TEST(CallBehindRestart, IsToldByTheCodeOrByTheArgumentsOrNotAtAll) {
  constexpr std::uint64_t time_at = 0x7ffc'f000'1000, elsewhere = 0x7ffc'0000'2000;
  struct Memory {
    static bool is_time(std::uint64_t address) { return address == time_at; }
    static bool holds(std::uint64_t, std::uint32_t value) { return value == 1; }
  };
  const auto of = [&](const arch::Registers& r, Bytes code = {}) {
    return arch::call_behind_restart(r, code, Memory());
  };
  EXPECT_EQ(of(in_call(time_at, 0, elsewhere, 0)), std::uint64_t{SYS_nanosleep});
  EXPECT_EQ(of(in_call(0, 0, time_at, 0)), std::uint64_t{SYS_clock_nanosleep});
  EXPECT_EQ(of(in_call(elsewhere, 3, 500, 0)), std::uint64_t{SYS_poll});
  EXPECT_EQ(of(in_call(elsewhere, 128, 1, time_at)), std::uint64_t{SYS_futex});
  EXPECT_EQ(of(in_call(elsewhere + 1, 1, elsewhere, 0)), 0u);
  EXPECT_EQ(of(in_call(time_at, 0, time_at, 0)), std::uint64_t{SYS_nanosleep})
      << "its first argument is no clock's number";
  EXPECT_EQ(of(in_call(time_at, 0, 2, time_at)), std::uint64_t{SYS_nanosleep})
      << "the word is another";
  EXPECT_EQ(of(in_call(time_at, 0, 1, time_at)), 0u) << "a sleep or a futex";
  constexpr std::uint8_t nanosleep[] = {0xb8, SYS_nanosleep, 0, 0, 0, 0x31, 0xf6};
  EXPECT_EQ(of(in_call(time_at, 0, 1, time_at), Bytes(nanosleep, sizeof nanosleep)),
            std::uint64_t{SYS_nanosleep});
  EXPECT_EQ(of(in_call(elsewhere, 3, 500, 0), Bytes(nanosleep, sizeof nanosleep)),
            std::uint64_t{SYS_poll})
      << "what the code says does not fit";
  constexpr std::uint8_t futex[] = {0xb8, SYS_futex, 0, 0, 0};
  EXPECT_EQ(of(in_call(elsewhere, 128, 2, time_at), Bytes(futex, sizeof futex)),
            std::uint64_t{SYS_futex})
      << "its word has changed since";
  EXPECT_EQ(of(in_call(elsewhere, 128, 2, time_at)), 0u) << "a poll, or a futex's changed word";
}

TEST(FreezeRefused, AProcessThatMayNotForkIsToldSoAtOnceAndSleepsOn) {
  if (::geteuid() != 0)
    GTEST_SKIP() << "a limit of processes binds ordinary users, so it takes root";
  FakeAgent agent;
  constexpr timespec a_second = {1, 0};
  const auto begun = std::chrono::steady_clock::now();
  const Waiting target([&a_second]() -> long {
    const rlimit none = {1, 1};
    if (::setresuid(61234, 61234, 61234) != 0 || ::setrlimit(RLIMIT_NPROC, &none) != 0) return -1;
    ::prctl(PR_SET_DUMPABLE, 1);
    return ::syscall(SYS_nanosleep, &a_second, nullptr);
  });
  for (std::uint64_t i = 1; i <= 2; ++i) {
    const Agrees agrees;
    const auto frozen = freeze(target.pid(), lifeline(i), agrees);
    ASSERT_FALSE(frozen.ok());
    EXPECT_THAT(describe(frozen.error()), HasSubstr("it may not fork"));
  }
  EXPECT_EQ(target.answer(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5))
      << "it stood still until our code gave up, or slept anew";
}

}  // namespace
}  // namespace mitosis::capture
