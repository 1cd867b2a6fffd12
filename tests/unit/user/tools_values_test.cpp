// SPDX-License-Identifier: MIT
// What the command line's texts mean, and how values are shown. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>

#include "../../../tools/mitosis/table.hpp"
#include "../../../tools/mitosis/values/duration.hpp"
#include "../../../tools/mitosis/values/handler.hpp"
#include "../../../tools/mitosis/values/peer.hpp"
#include "../../../tools/mitosis/values/show.hpp"
#include "../../../tools/mitosis/values/size.hpp"

namespace mitosis::tools {
namespace {

using std::chrono::milliseconds;

TEST(Size, UnitsAreBinaryHoweverTheyAreWritten) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("100B"), 100u);
  for (const char* text : {"64K", "64k", "64KB", "64kb", "64KiB"}) {
    EXPECT_EQ(*parse_size(text), 65536u) << text;
  }
  EXPECT_EQ(*parse_size("4G"), std::uint64_t{4} << 30);
  EXPECT_EQ(*parse_size("16777215T"), std::uint64_t{16777215} << 40);
}

TEST(Size, RefusesWhatIsNoneOrDoesNotFit) {
  for (const char* text : {"", "G", "-1", " 1", "1 G", "4X", "4GG", "1.5G", "4Gx",
                           "18446744073709551616", "16777216T", "18446744073709551615K"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.code(), Errc::invalid_argument);
    EXPECT_NE(describe(size.error()).find(text), std::string::npos) << text;
  }
}

TEST(Duration, PlainNumbersAreSeconds) {
  EXPECT_EQ(*parse_duration("0"), milliseconds(0));
  EXPECT_EQ(*parse_duration("60"), milliseconds(60'000));
  EXPECT_EQ(*parse_duration("60s"), milliseconds(60'000));
  EXPECT_EQ(*parse_duration("1500ms"), milliseconds(1500));
  EXPECT_EQ(*parse_duration("5m"), milliseconds(300'000));
  EXPECT_EQ(*parse_duration("2h"), milliseconds(7'200'000));
}

TEST(Duration, RefusesWhatIsNoneOrTooLong) {
  for (const char* text : {"", "s", "-5s", "5 s", "5d", "1.5s", "8785h", "99999999999999999999"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Peer, IsAnIdAndAnAddress) {
  const auto peer = parse_peer("2=10.0.0.2:7411");
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->first, MachineId{2});
  EXPECT_EQ(peer->second, "10.0.0.2:7411");
  EXPECT_EQ(parse_peer("0=[2001:db8::1]:1")->second, "[2001:db8::1]:1");
  EXPECT_EQ(parse_peer("7=node-7.example:65535")->second, "node-7.example:65535");
}

TEST(Peer, RefusesHalvesAndBareIpv6) {
  for (const char* text : {"", "2", "2=", "=a:1", "x=a:1", "2=a", "2=a:", "2=:1", "2=a:65536",
                           "2=a:1x", "2=2001:db8::1:7411", "2=[]:1", "4294967295=a:1", "-1=a:1"}) {
    EXPECT_FALSE(parse_peer(text)) << text;
  }
}

TEST(Handler, IsAWholeNumberOfSixtyFourBits) {
  EXPECT_EQ(*parse_handler("73"), HandlerId{73});
  EXPECT_EQ(*parse_handler("18446744073709551615"), HandlerId{~std::uint64_t{0}});
  for (const char* text : {"", "-1", "7x", "0x49", "18446744073709551616"}) {
    EXPECT_FALSE(parse_handler(text)) << text;
  }
}

TEST(Show, KeepsThreeDigits) {
  EXPECT_EQ(show_bytes(0), "0 B");
  EXPECT_EQ(show_bytes(1023), "1023 B");
  EXPECT_EQ(show_bytes(1536), "1.50 KiB");
  EXPECT_EQ(show_bytes(std::uint64_t{300} << 20), "300 MiB");
  EXPECT_EQ(show_bytes((std::uint64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(show_time(1.234), "1.23 ms");
  EXPECT_EQ(show_time(350), "350 ms");
  EXPECT_EQ(show_time(12'345), "12.3 s");
  EXPECT_EQ(show_time(310'000), "5 m 10 s");
  EXPECT_EQ(show_time(11'100'000), "3 h 5 m");
}

TEST(Table, ShowsWhatWouldDoSomethingToATerminal) {
  Table table({"NAME"});
  table.add({"a\x1b[2J\n\x7f \xc2\x9b ä\xff"});
  EXPECT_EQ(table.text(), "NAME\na\\x1b[2J\\x0a\\x7f \\xc2\\x9b ä\xff\n");
}

TEST(Table, AlignsByTheWidestCellAndCountsCharacters) {
  Table table({"NAME", ">N"});
  table.add({"a", "1"});
  table.add({"größer", "100", "dropped"});
  table.add({"short"});
  EXPECT_EQ(table.text(), "NAME      N\na         1\ngrößer  100\nshort\n");
}

}  // namespace
}  // namespace mitosis::tools
