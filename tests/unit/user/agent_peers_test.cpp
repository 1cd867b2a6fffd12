// SPDX-License-Identifier: MIT
// Peers: an address is called before it takes another one's place. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/peers.hpp>

#include <string>

#include "../net/test_server.hpp"

namespace mitosis::agent {
namespace {

/// A port of this machine that nobody listens at.
std::string nowhere() {
  const auto listener = tcp::listen_on(*tcp::resolve("127.0.0.1:0"));
  return "127.0.0.1:" + std::to_string(tcp::local_port(listener->get()));
}

struct PeersTest : ::testing::Test {
  ~PeersTest() override { peers.close(); }
  test::NoService service;
  test::TestServer server{service};
  Peers peers{test::identity(test::client_machine), {}};
};

TEST_F(PeersTest, AWrongAddressDoesNotReplaceTheGoodOne) {
  ASSERT_TRUE(peers.connect(test::server_machine, server.address));
  const auto wrong = peers.connect(test::server_machine, nowhere());
  EXPECT_EQ(wrong.code(), Errc::machine_unreachable);
  EXPECT_EQ(peers.book().find(test::server_machine)->text(), server.address);
  EXPECT_TRUE(peers.ping(test::server_machine));
}

TEST_F(PeersTest, WhoIsGivenAnotherAddressIsCalledThere) {
  ASSERT_TRUE(peers.connect(test::server_machine, server.address));
  test::TestServer moved{service};
  ASSERT_TRUE(peers.connect(test::server_machine, moved.address));
  EXPECT_EQ(peers.book().find(test::server_machine)->text(), moved.address);
  moved.server.reset();
  EXPECT_FALSE(peers.ping(test::server_machine)) << "though one answers at the first address";
}

TEST_F(PeersTest, WhereNobodyAnswersYetSomebodyMayLater) {
  const std::string address = nowhere();
  EXPECT_EQ(peers.connect(test::server_machine, address).code(), Errc::machine_unreachable);
  ASSERT_TRUE(peers.book().find(test::server_machine));
  EXPECT_EQ(peers.book().find(test::server_machine)->text(), address);
}

TEST_F(PeersTest, AnotherMachineAtTheAddressIsNamedAndNotEntered) {
  const auto wrong = peers.connect(MachineId{5}, server.address);
  ASSERT_EQ(wrong.code(), Errc::authentication_failed);
  const std::string said = describe(wrong.error());
  EXPECT_NE(said.find("says it is machine 2"), std::string::npos) << said;
  EXPECT_FALSE(peers.book().find(MachineId{5}));
}

}  // namespace
}  // namespace mitosis::agent
