// SPDX-License-Identifier: MIT
// What the verbs side of calls over datagrams is made of and needs no device.
#include <gtest/gtest.h>

#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/verbs/frame_buffer.hpp>
#include <mitosis/net/verbs/way_text.hpp>

#include <string>
#include <vector>

namespace mitosis::verbs {
namespace {

TEST(FrameBuffer, GivesTheFramesOneByOneAndRefusesWhatIsCut) {
  std::vector<std::uint8_t> bytes = wire::make_frame(auth::Proof{});
  const std::vector<std::uint8_t> second = wire::make_frame(auth::Challenge{});
  bytes.insert(bytes.end(), second.begin(), second.end());
  FrameBuffer frames(Bytes(bytes.data(), bytes.size()));
  const auto first = frames.receive(1024);
  ASSERT_TRUE(first.ok() && first->is<auth::Proof>());
  EXPECT_FALSE(frames.empty());
  const auto next = frames.receive(1024);
  ASSERT_TRUE(next.ok() && next->is<auth::Challenge>() && next->as<auth::Challenge>().ok());
  EXPECT_TRUE(frames.empty());
  EXPECT_EQ(frames.receive(1024).code(), Errc::bad_message);
  for (std::size_t size = 0; size < second.size(); ++size) {
    EXPECT_EQ(FrameBuffer(Bytes(second.data(), size)).receive(1024).code(), Errc::bad_message);
  }
}

TEST(WayText, IsReadAsItWasWrittenAndNothingElseIs) {
  rpc::ud::Way way;
  way.gid = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
  way.queue_pair = 0xffffff;
  way.lid = 65535;
  const std::string text = way_text(way);
  EXPECT_EQ(text, "fe80:0000:0000:0000:5054:00ff:fe00:0001/16777215/65535");
  const auto read = parse_way(text);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, way);
  for (const char* wrong : {"", "10.0.0.1", "fe80::1/17/0", "0:0:0:0:0:0:0:0/17/0 and more",
                            "0:0:0:0:0:0:0:0/16777216/0", "0:0:0:0:0:0:0:0/17/65536"}) {
    EXPECT_EQ(parse_way(wrong).code(), Errc::invalid_argument) << wrong;
  }
}

}  // namespace
}  // namespace mitosis::verbs
