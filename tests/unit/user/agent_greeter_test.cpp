// SPDX-License-Identifier: MIT
// Greeter: a machine that will never answer is told of at the start. World: user.
#include <gtest/gtest.h>
#include <spdlog/sinks/ringbuffer_sink.h>

#include <mitosis/fork/user/agent/greeter.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "../net/test_server.hpp"

namespace mitosis::agent {
namespace {

using namespace std::chrono_literals;

class GreeterTest : public ::testing::Test {
 protected:
  GreeterTest() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", log_)); }
  /// What the log says, once it says something; empty after the deadline.
  [[nodiscard]] std::string said() const {
    const auto limit = std::chrono::steady_clock::now() + 30s;
    while (log_->last_raw().empty() && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(1ms);
    }
    return log_->last_raw().empty() ? "" : log_->last_formatted().back();
  }

  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> log_ =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(8);
  test::NoService service_;
  test::TestServer server_{service_};
};

TEST_F(GreeterTest, AnotherSecretIsToldAtOnce) {
  Peers peers(test::identity(test::client_machine, "not the shared secret"), {});
  ASSERT_TRUE(peers.enter(test::server_machine, server_.address));
  const Greeter greeter(peers, {test::server_machine}, {.patience = 1h});
  EXPECT_NE(said().find("machine 2"), std::string::npos) << said();
  peers.close();
}

TEST_F(GreeterTest, OneThatDoesNotListenIsToldAfterAWhile) {
  Peers peers(test::identity(test::client_machine), {});
  ASSERT_TRUE(peers.enter(test::server_machine, server_.address));
  server_.server.reset();
  const auto began = std::chrono::steady_clock::now();
  Greeter greeter(peers, {test::server_machine}, {.patience = 300ms, .pause = 20ms});
  greeter.join();
  EXPECT_NE(said().find("machine 2"), std::string::npos) << said();
  EXPECT_GE(std::chrono::steady_clock::now() - began, 300ms);
  EXPECT_EQ(log_->last_raw().size(), 1u);
}

TEST_F(GreeterTest, OneThatAnswersIsNotSpokenOf) {
  Peers peers(test::identity(test::client_machine), {});
  ASSERT_TRUE(peers.enter(test::server_machine, server_.address));
  Greeter greeter(peers, {test::server_machine}, {.patience = 1h});
  greeter.join();  // which ends, for it has answered
  EXPECT_TRUE(log_->last_raw().empty()) << said();
}

TEST_F(GreeterTest, ItsOwnerNeedNotWaitForIt) {
  Peers peers(test::identity(test::client_machine), {});
  ASSERT_TRUE(peers.enter(test::server_machine, server_.address));
  server_.server.reset();
  Greeter greeter(peers, {test::server_machine}, {.patience = 1h, .pause = 1h});
  greeter.request_stop();
  peers.close();
  greeter.join();
  EXPECT_TRUE(log_->last_raw().empty()) << said();
}

}  // namespace
}  // namespace mitosis::agent
