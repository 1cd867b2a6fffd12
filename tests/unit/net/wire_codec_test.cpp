// SPDX-License-Identifier: MIT
// The codec: what is encoded comes back, and nothing else does.
#include <gtest/gtest.h>

#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/rpc/messages.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mitosis {
namespace {

enum class LocalType : std::uint32_t { sample = 9 };
enum class Colour : std::uint8_t { red, green, last = green };

struct Inner {
  std::int32_t number = 0;
  std::string name;
  template <class A>
  void fields(A& a) {
    a(number, wire::limit<8>(name));
  }
};
/// A field of every kind, with another protocol's enum of types.
struct Sample {
  static constexpr LocalType type = LocalType::sample;
  bool flag = false;
  std::int64_t negative = 0;
  Colour colour = Colour::red;
  AuthKey key;
  TargetName target;
  Error error;
  std::array<std::uint8_t, 4> raw{};
  std::optional<std::uint16_t> maybe;
  std::vector<Inner> inners;
  std::vector<std::uint8_t> bytes;
  std::vector<std::string> names;
  template <class A>
  void fields(A& a) {
    a(flag, negative, colour, key, target, error, raw, maybe, inners, wire::limit<100>(bytes),
      names);
  }
};

Sample sample() {
  Sample s;
  s.flag = true;
  s.negative = -5'000'000'000;
  s.colour = Colour::green;
  s.key.bytes[15] = 0xab;
  s.target = {7, 0x1122334455667788};
  s.error = Error(Errc::file_missing, "/usr/lib/libm.so", 2).in("open").at_machine(MachineId{3});
  s.raw = {1, 2, 3, 4};
  s.maybe = std::uint16_t{77};
  s.inners = {{-1, "minus"}, {2, ""}};
  s.bytes = {9, 8, 7};
  s.names = {"a", "", "c"};
  return s;
}

Bytes view(const std::vector<std::uint8_t>& v) {
  return Bytes(v.data(), v.size());
}

TEST(WireCodec, EveryKindOfFieldComesBack) {
  const std::vector<std::uint8_t> bytes = wire::encode(sample());
  Result<Sample> back = wire::decode<Sample>(view(bytes));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->flag);
  EXPECT_EQ(back->negative, -5'000'000'000);
  EXPECT_EQ(back->colour, Colour::green);
  EXPECT_TRUE(back->key == sample().key);
  EXPECT_EQ(back->target, sample().target);
  EXPECT_EQ(back->error.code, Errc::file_missing);
  EXPECT_EQ(back->error.os_errno, 2);
  EXPECT_EQ(back->error.machine, MachineId{3});
  EXPECT_STREQ(back->error.step.c_str(), "open");
  EXPECT_STREQ(back->error.subject.c_str(), "/usr/lib/libm.so");
  EXPECT_EQ(back->raw, sample().raw);
  EXPECT_EQ(back->maybe, sample().maybe);
  ASSERT_EQ(back->inners.size(), 2u);
  EXPECT_EQ(back->inners[0].number, -1);
  EXPECT_EQ(back->inners[0].name, "minus");
  EXPECT_EQ(back->bytes, sample().bytes);
  EXPECT_EQ(back->names, sample().names);
  EXPECT_EQ(wire::encode(*back), bytes);
}

TEST(WireCodec, EveryTruncationIsRefused) {
  const std::vector<std::uint8_t> bytes = wire::encode(sample());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(wire::decode<Sample>(Bytes(bytes.data(), length)).code(), Errc::bad_message)
        << length;
  }
}

TEST(WireCodec, TrailingBytesAreRefusedAndTheMessageIsNamed) {
  std::vector<std::uint8_t> bytes = wire::encode(sample());
  bytes.push_back(0);
  const Result<Sample> back = wire::decode<Sample>(view(bytes));
  ASSERT_EQ(back.code(), Errc::bad_message);
  EXPECT_STREQ(back.error().subject.c_str(), "message type 9");
}

TEST(WireCodec, ValuesOutOfRangeAreRefused) {
  const std::vector<std::uint8_t> good = wire::encode(sample());
  std::vector<std::uint8_t> bad = good;
  bad[0] = 2;  // a bool
  EXPECT_FALSE(wire::decode<Sample>(view(bad)).ok());
  bad = good;
  bad[9] = 2;  // Colour
  EXPECT_FALSE(wire::decode<Sample>(view(bad)).ok());
}

TEST(WireCodec, LengthsOverTheirMaximumAreRefused) {
  Sample s = sample();
  s.bytes.resize(100);
  EXPECT_TRUE(wire::decode<Sample>(view(wire::encode(s))).ok());
  s.bytes.resize(101);
  EXPECT_FALSE(wire::decode<Sample>(view(wire::encode(s))).ok());
  s = sample();
  s.inners[0].name = "nine char";
  EXPECT_FALSE(wire::decode<Sample>(view(wire::encode(s))).ok());
  s = sample();
  s.names[0].assign(wire::max_string + 1, 'x');
  EXPECT_FALSE(wire::decode<Sample>(view(wire::encode(s))).ok());
}

struct Many {
  static constexpr LocalType type = LocalType::sample;
  std::vector<std::string> names;
  template <class A>
  void fields(A& a) {
    a(names);
  }
};

TEST(WireCodec, ACountThatTheBytesCannotFillAllocatesNothing) {
  const std::vector<std::uint8_t> lie = {0xff, 0xff, 0, 0, 1, 0, 0, 0};
  EXPECT_EQ(wire::decode<Many>(view(lie)).code(), Errc::bad_message);
}

TEST(WireFrame, ComesBackAndChecksItsHeader) {
  wire::FrameHeader header;
  header.request = 42;
  header.patience_ms = 1000;
  const std::vector<std::uint8_t> frame =
      wire::make_frame(rpc::Reclaim{HandlerId{73}, AuthKey{}}, header);
  const Bytes raw(frame.data(), wire::frame_header_bytes);
  Result<wire::FrameHeader> parsed = wire::parse_frame_header(raw);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->type, static_cast<std::uint16_t>(MessageType::reclaim));
  EXPECT_EQ(parsed->request, 42u);
  EXPECT_EQ(parsed->patience_ms, 1000u);
  EXPECT_EQ(parsed->length, frame.size() - wire::frame_header_bytes);
  EXPECT_EQ(wire::parse_frame_header(raw, parsed->length - 1).code(), Errc::bad_message);

  std::vector<std::uint8_t> other = frame;
  other[4] ^= 2;
  EXPECT_EQ(wire::parse_frame_header(Bytes(other.data(), wire::frame_header_bytes)).code(),
            Errc::protocol_mismatch);
  other = frame;
  other[0] ^= 1;
  EXPECT_EQ(wire::parse_frame_header(Bytes(other.data(), wire::frame_header_bytes)).code(),
            Errc::bad_message);
}

TEST(WireFrame, IsNotTakenForAnotherMessage) {
  wire::Frame frame;
  frame.header.type = wire::type_number<rpc::Nil>;
  EXPECT_TRUE(frame.as<rpc::Nil>().ok());
  EXPECT_EQ(frame.as<rpc::Bye>().code(), Errc::bad_message);
}

}  // namespace
}  // namespace mitosis
