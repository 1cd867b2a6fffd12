// SPDX-License-Identifier: MIT
// EventLog keeps every event in order, over its head and into the memfd, and says when it can't.
#include <gtest/gtest.h>

#include <mitosis/fork/user/agent/event_log.hpp>

namespace mitosis::agent {
namespace {

AddressSpaceEvent removed(std::uint64_t page) {
  return {EventKind::removed, 0, {PageNumber{page}, 1}, {}};
}

TEST(EventLog, GivesBackWhatWasAppendedBeyondItsHead) {
  EventLog log;
  constexpr std::uint32_t many = EventLog::head_events * 5;
  for (std::uint32_t i = 0; i < many; ++i) ASSERT_EQ(log.append(removed(i)), Errc::ok);
  ASSERT_EQ(log.count(), many);
  for (std::uint32_t i = 0; i < many; ++i) {
    EXPECT_EQ(log.at(i).kind, EventKind::removed);
    EXPECT_EQ(index(log.at(i).range.first), i);
  }
  log.reset();
}

TEST(EventLog, ACopyHasTheEventsSoFarAndThenItsOwn) {
  EventLog parent, child;
  for (std::uint64_t i = 0; i < 40; ++i) ASSERT_EQ(parent.append(removed(i)), Errc::ok);
  ASSERT_EQ(child.copy_from(parent), Errc::ok);
  ASSERT_EQ(child.append(removed(1000)), Errc::ok);
  EXPECT_EQ(parent.count(), 40u);
  EXPECT_EQ(child.count(), 41u);
  EXPECT_EQ(index(child.at(39).range.first), 39u);
  EXPECT_EQ(index(child.at(40).range.first), 1000u);
  parent.reset();
  child.reset();
}

TEST(EventLog, SaysThatItIsIncompleteWhenAnEventIsLost) {
  EventLog log;
  for (std::uint32_t i = 0; i < EventLog::head_events + 1; ++i) {
    ASSERT_EQ(log.append(removed(i)), Errc::ok);
  }
  ::close(log.spill_fd());  // the memfd is gone, as when memory is short
  EXPECT_EQ(log.append(removed(7)), Errc::limit_exceeded);
  EXPECT_FALSE(log.complete());
}

TEST(EventLog, ZeroedMemoryIsAnEmptyLog) {
  alignas(EventLog) unsigned char raw[sizeof(EventLog)] = {};
  const auto* log = reinterpret_cast<const EventLog*>(raw);
  EXPECT_EQ(log->count(), 0u);
  EXPECT_TRUE(log->complete());
}

}  // namespace
}  // namespace mitosis::agent
