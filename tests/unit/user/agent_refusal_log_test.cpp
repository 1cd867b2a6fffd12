// SPDX-License-Identifier: MIT
// RefusalLog: a flood costs a few lines, and none is hidden for good. World: user.
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <mitosis/fork/user/agent/refusal_log.hpp>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>

namespace mitosis::agent {
namespace {

class RefusalLogTest : public ::testing::Test {
 protected:
  RefusalLogTest() {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
  }
  [[nodiscard]] auto lines() const {
    const std::string text = text_.str();
    return std::count(text.begin(), text.end(), '\n');
  }
  [[nodiscard]] bool says(const char* part) const {
    return text_.str().find(part) != std::string::npos;
  }

  std::ostringstream text_;
  RefusalLog log_{"a connection was refused", spdlog::level::warn};
  const RefusalLog::Clock::time_point start_{std::chrono::hours(1)};
};

TEST_F(RefusalLogTest, AFloodIsAFewLinesAndThenItsNumber) {
  for (int i = 0; i < 1000; ++i) log_.add(Errc::authentication_failed, start_);
  EXPECT_EQ(lines(), RefusalLog::lines);
  log_.tick(start_ + RefusalLog::window - std::chrono::milliseconds(1));
  EXPECT_EQ(lines(), RefusalLog::lines);
  log_.tick(start_ + RefusalLog::window);
  EXPECT_EQ(lines(), RefusalLog::lines + 1);
  EXPECT_TRUE(says("a connection was refused 995 more times within 10 s")) << text_.str();
}

TEST_F(RefusalLogTest, WhatIsRareIsLoggedWhole) {
  for (int i = 0; i < 20; ++i) log_.add(Errc::timed_out, start_ + i * RefusalLog::window);
  EXPECT_EQ(lines(), 20);
  EXPECT_FALSE(says("more times"));
}

TEST_F(RefusalLogTest, TheNextWindowTellsOfTheLastOne) {
  for (std::uint32_t i = 0; i < RefusalLog::lines; ++i) log_.add(Errc::timed_out, start_);
  log_.add(Errc::bad_message, start_);
  log_.add(Errc::timed_out, start_ + 2 * RefusalLog::window);
  EXPECT_TRUE(says("1 more times within 10 s; the last: a message is malformed")) << text_.str();
}

}  // namespace
}  // namespace mitosis::agent
