// SPDX-License-Identifier: MIT
// LocalServer: who is not served is told why. World: user.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/local_server.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <testbed/temp_dir.hpp>

#include <string>
#include <vector>

namespace mitosis::agent {
namespace {

using std::chrono::seconds;

/// Answers each Nil.
void serve_nil(const local::Channel& channel) {
  while (channel.receive(local::within(seconds(60)))) {
    if (!channel.send(local::Done{}, local::within(seconds(5)))) return;
  }
}

Result<local::Done> ask(const local::Channel& channel) {
  return channel.call<local::Done>(local::Nil{}, local::within(seconds(10)));
}

struct LocalServerTest : ::testing::Test {
  testbed::TempDir dir{std::move(*testbed::TempDir::create("mitosis-test"))};
  std::string path = dir.file("socket");
  UniqueFd listening{std::move(*local::listen(path))};
  LocalServer server{listening.get(), serve_nil};
};

/// As user 12345: 0 if so many connections are served and one more is told why it is not.
int one_too_many(const std::string& path) {
  if (::setresgid(12345, 12345, 12345) != 0 || ::setresuid(12345, 12345, 12345) != 0) return 2;
  std::vector<local::Channel> all;
  for (std::size_t i = 0; i < LocalServer::max_of_a_user; ++i) {
    auto one = local::connect(path, seconds(10));
    if (!one || !ask(*one)) return 3;
    all.push_back(std::move(*one));
  }
  auto more = local::connect(path, seconds(10));
  if (!more) return 4;
  const auto refused = ask(*more);
  if (refused.code() != Errc::limit_exceeded) return 5;
  return describe(refused.error()).find("user 12345 has 1024") != std::string::npos ? 0 : 6;
}

TEST_F(LocalServerTest, AUserWithTooManyConnectionsIsToldSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "to be another user takes root";
  rlimit files = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_max < 4096) GTEST_SKIP() << "too few files may be open here";
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  ASSERT_EQ(::chmod(path.substr(0, path.rfind('/')).c_str(), 0755), 0);
  ASSERT_TRUE(server.start());
  const pid_t user = ::fork();
  if (user == 0) ::_exit(one_too_many(path));
  int status = 0;
  ASSERT_EQ(::waitpid(user, &status, 0), user);
  EXPECT_EQ(status, 0);
}

TEST_F(LocalServerTest, WithoutAFreeDescriptorACallIsToldSo) {
  auto first = local::connect(path, seconds(10));
  ASSERT_TRUE(server.start());
  ASSERT_TRUE(first && ask(*first));  // it has its spare descriptor
  auto second = local::connect(path, seconds(10));
  ASSERT_TRUE(second && ask(*second));
  UniqueFd waiting(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const UniqueFd next(::dup(waiting.get()));  // the lowest number that is free
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {static_cast<rlim_t>(next.get()), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto connected = local::connect_socket(waiting.get(), path, seconds(10));
  const local::Channel channel(std::move(waiting));
  const auto refused = connected ? ask(channel) : Result<local::Done>(connected.error());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_EQ(refused.code(), Errc::limit_exceeded) << describe(refused.error());
  EXPECT_NE(describe(refused.error()).find("ulimit -n"), std::string::npos);
  EXPECT_TRUE(ask(*second)) << "who is served goes on";
}

}  // namespace
}  // namespace mitosis::agent
