// SPDX-License-Identifier: MIT
// describe(Error): names what failed, where, at which step and what to do. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>

#include <cerrno>
#include <cstdint>
#include <set>
#include <string>

namespace mitosis {
namespace {

TEST(Describe, SaysWhatWhereWhichStepAndWhatToDo) {
  Error error(Errc::unknown_handler);
  error.at_machine(MachineId{3}).of_handler(HandlerId{73}).in("query descriptor");
  EXPECT_EQ(describe(error),
            "machine 3: handler 73: query descriptor: no such handler is prepared; "
            "list the handlers there with `mitosis ps`");
}

TEST(Describe, LeavesUnknownPartsOut) {
  EXPECT_EQ(describe(Errc::timed_out), "the deadline passed");
}

TEST(Describe, NamesTheSubjectAndTheSystemsReason) {
  EXPECT_EQ(describe(Error(Errc::system_call_failed, "/dev/userfaultfd", EACCES)),
            "a system call failed: /dev/userfaultfd (Permission denied)");
}

TEST(Describe, APortThatIsTakenNamesTheWayOut) {
  const std::string taken = describe(Error(Errc::file_missing, "descriptor 5: bind", EADDRINUSE));
  EXPECT_NE(taken.find("--netns"), std::string::npos) << taken;
  EXPECT_EQ(taken.find("path"), std::string::npos) << taken;
  const std::string missing = describe(Error(Errc::file_missing, "descriptor 5: /a", ENOENT));
  EXPECT_NE(missing.find("the same path"), std::string::npos) << missing;
}

TEST(Describe, PrintsAddressesInHexadecimal) {
  EXPECT_EQ(describe(Error(Errc::page_unavailable).at_address(0x7f0000001000)),
            "address 0x7f0000001000: a page cannot be had");
}

TEST(Errc, EveryCodeHasWordsOfItsOwn) {
  std::set<std::string> seen;
  for (std::uint16_t i = 0; i <= static_cast<std::uint16_t>(Errc::last); ++i) {
    const std::string text = words(Errc{i});
    EXPECT_NE(text, "an unknown error") << i;
    EXPECT_TRUE(seen.insert(text).second) << text;
  }
  EXPECT_STREQ(words(Errc{60000}), "an unknown error");
}

}  // namespace
}  // namespace mitosis
