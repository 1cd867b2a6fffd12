// SPDX-License-Identifier: MIT
// Attaching where no connection pool is held: who wants to hears so, and never waits without an
// end.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/net/pool/client.hpp>
#include <mitosis/net/pool/no_pool.hpp>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace mitosis::pool {
namespace {

constexpr int backlog = 64;
constexpr std::uint64_t long_ms = 60'000;

class PoolAttachTest : public testing::Test {
 protected:
  PoolAttachTest() {
    char name[] = "/tmp/mitosis-pool-XXXXXX";
    if (::mkdtemp(name) != nullptr) folder_ = name;
    path_ = folder_ + "/pool.sock";
    auto made = listen_at(path_);
    EXPECT_TRUE(made.ok());
    if (made.ok()) listener_ = std::move(made).value();
  }
  ~PoolAttachTest() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  /// Connects and says nothing; -1 with errno where that would wait.
  [[nodiscard]] UniqueFd connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      socket.reset();
    }
    return socket;
  }

  std::string folder_, path_;
  UniqueFd listener_;
};

TEST_F(PoolAttachTest, WithoutAPoolEachIsToldSoAtOnce) {
  const auto refuses = NoPool::start(listener_.get());
  ASSERT_TRUE(refuses.ok());
  const UniqueFd silent = connect();
  ASSERT_TRUE(silent);
  for (int i = 0; i < 2 * backlog; ++i) {
    const auto pool = Pool::attach(path_, 4096, long_ms);
    ASSERT_EQ(pool.code(), Errc::transport_unsupported) << i;
  }
}

TEST_F(PoolAttachTest, WhoseBacklogIsFullIsNotWaitedForWithoutEnd) {
  std::vector<UniqueFd> others;
  for (;;) {
    others.push_back(connect());
    if (!others.back()) break;
    ASSERT_LE(others.size(), std::size_t{2 * backlog});
  }
  ASSERT_EQ(errno, EAGAIN);
  EXPECT_EQ(Pool::attach(path_, 4096, 100).code(), Errc::timed_out);
}

TEST(PoolSocket, APathThatIsTooLongIsRefusedByTheOptionsName) {
  const auto made = listen_at("/tmp/" + std::string(103, 'x'));
  ASSERT_EQ(made.code(), Errc::invalid_argument);
  EXPECT_NE(describe(made.error()).find("--pool-socket, a path of 1 to 107 bytes"),
            std::string::npos)
      << describe(made.error());
}

TEST_F(PoolAttachTest, WhoIsNotAnsweredGivesUp) {
  EXPECT_EQ(Pool::attach(path_, 4096, 100).code(), Errc::timed_out);
}

}  // namespace
}  // namespace mitosis::pool
