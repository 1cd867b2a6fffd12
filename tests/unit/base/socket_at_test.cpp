// SPDX-License-Identifier: MIT
// What is found at a socket's path: only what nobody listens at any more may be removed.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <mitosis/base/socket_at.hpp>

#include <fstream>
#include <string>

namespace mitosis {
namespace {

class SocketAtTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_), nullptr); }
  void TearDown() override {
    ::unlink(path().c_str());
    ::rmdir(folder_);
  }
  [[nodiscard]] std::string path() const { return std::string(folder_) + "/there"; }
  /// One that is bound there, and listens.
  [[nodiscard]] UniqueFd listen(int type) const {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 0), 0);
    return fd;
  }

 private:
  char folder_[32] = "/tmp/mitosis-socket-XXXXXX";
};

TEST_F(SocketAtTest, NothingIsThere) {
  EXPECT_EQ(socket_at(path()), SocketAt::nothing);
  EXPECT_EQ(socket_at(path() + "/below"), SocketAt::nothing);
}
TEST_F(SocketAtTest, AFileIsNoSocket) {
  std::ofstream(path()) << "of somebody\n";
  EXPECT_EQ(socket_at(path()), SocketAt::no_socket);
}
TEST_F(SocketAtTest, WhoListensIsTheirsAndOnceItHasEndedItsSocketIsDead) {
  UniqueFd fd = listen(SOCK_SEQPACKET);
  EXPECT_EQ(socket_at(path()), SocketAt::listening);
  fd.reset();
  EXPECT_EQ(socket_at(path()), SocketAt::dead);
}
TEST_F(SocketAtTest, WhoIsTooBusyToAnswerListensAllTheSame) {
  const UniqueFd fd = listen(SOCK_SEQPACKET);
  for (int i = 0; i < 5; ++i) {  // nobody accepts: the queue is full after the first ones
    EXPECT_EQ(socket_at(path()), SocketAt::listening);
  }
}
TEST_F(SocketAtTest, ASocketOfAnotherKindIsSomebodys) {
  const UniqueFd fd = listen(SOCK_STREAM);
  EXPECT_EQ(socket_at(path()), SocketAt::other);
}

}  // namespace
}  // namespace mitosis
