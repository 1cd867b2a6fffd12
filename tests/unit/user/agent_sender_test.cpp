// SPDX-License-Identifier: MIT
// Who has sent a packet: that very process, never another that has its pid by now. World: user.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <mitosis/fork/user/agent/process_owner.hpp>
#include <mitosis/fork/user/local/basic.hpp>

#include <utility>

namespace mitosis::agent {
namespace {

/// A process that sends a packet and lives until its end of the connection is closed.
class Sender {
 public:
  Sender() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ours_ = UniqueFd(pair[0]);
    const UniqueFd theirs(pair[1]);
    const int on = 1;
    EXPECT_EQ(::setsockopt(ours_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    passed_ = local::pass_pidfds(ours_.get());
    pid_ = ::fork();
    if (pid_ != 0) return;
    ours_.reset();
    char ignored;
    (void)local::ChannelView(theirs.get()).send(local::Nil{}, local::within(limit));
    (void)!::recv(theirs.get(), &ignored, 1, 0);
    ::_exit(0);
  }
  ~Sender() { end(); }
  local::Packet packet() {
    auto received = local::ChannelView(ours_.get()).receive(local::within(limit));
    EXPECT_TRUE(received);
    return received ? std::move(*received) : local::Packet{};
  }
  void end() {
    if (std::exchange(ended_, true)) return;
    ::shutdown(ours_.get(), SHUT_WR);
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  }
  [[nodiscard]] int socket() const { return ours_.get(); }
  [[nodiscard]] bool passed() const { return passed_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  static constexpr std::chrono::seconds limit{10};
  UniqueFd ours_;
  pid_t pid_ = -1;
  bool passed_ = false, ended_ = false;
};

/// Whether that process has ended; it is not waited for.
bool has_exited(const UniqueFd& pidfd) {
  pollfd end = {pidfd.get(), POLLIN, 0};
  return ::poll(&end, 1, 0) == 1;
}

/// Both ways: as the kernel passes it, and as kernels before 6.5 make us find it.
class SenderTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !sender.passed()) GTEST_SKIP() << "this kernel passes no pidfds";
  }
  Sender sender;
};

TEST_P(SenderTest, LivesAndIsTheOne) {
  local::Packet packet = sender.packet();
  EXPECT_EQ(packet.sender.pid, sender.pid());
  auto pidfd = sender_of(packet, sender.socket(), GetParam());
  ASSERT_TRUE(pidfd);
  EXPECT_FALSE(has_exited(*pidfd));
  sender.end();
  EXPECT_TRUE(has_exited(*pidfd));
}

TEST_P(SenderTest, WhoHasEndedIsNobodyElse) {
  sender.end();
  local::Packet packet = sender.packet();  // it has waited for us
  auto pidfd = sender_of(packet, sender.socket(), GetParam());
  if (pidfd) {
    EXPECT_TRUE(has_exited(*pidfd));
  } else {
    EXPECT_EQ(pidfd.code(), Errc::child_died);
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, SenderTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "passed" : "found"; });

TEST(Packet, WhoseDescriptorsFindNoRoomSaysSo) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const local::Channel ours{UniqueFd(pair[0])}, theirs{UniqueFd(pair[1])};
  ASSERT_TRUE(
      theirs.send(local::Nil{}, local::within(std::chrono::seconds(5)), Span<const int>(pair, 2)));
  rlimit before = {}, none = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  none = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto packet = ours.receive(local::within(std::chrono::seconds(5)));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(packet);
  EXPECT_EQ(packet.code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace mitosis::agent
