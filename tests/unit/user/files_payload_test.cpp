// SPDX-License-Identifier: MIT
// The payloads of open files: what is written is read, and nothing else. World: user.
#include <gtest/gtest.h>

#include "../../fuzz/exercise_payload.hpp"

#include <memory>
#include <random>
#include <vector>

namespace mitosis::files {
namespace {

using Input = std::vector<std::uint8_t>;

/// One of each kind, with something in every vector.
std::vector<Input> samples() {
  const Chunk chunk{{1, 2, 3}};
  const Async async{Owner::group, 12};
  const Lock lock{LockKind::posix, true, 10, 5};
  Pipe pipe;
  pipe.first = 3;
  pipe.capacity = 65536;
  pipe.content = {chunk, {}, chunk};
  pipe.async = async;
  Content content;
  content.size = 100;
  content.extents = {{10, {1, 2}}, {50, {3}}};
  Memory memory;
  memory.first = 7;
  memory.name = "name";
  memory.locks = {lock};
  memory.content = content;
  Regular regular;
  regular.locks = {lock, lock};
  regular.content = content;
  UnixSocket pair;
  pair.role = SocketRole::pair;
  pair.name = std::string("\0abstract", 9);
  pair.options = {{3, -1, 2}};
  pair.incoming = {chunk};
  InetSocket inet;
  inet.role = SocketRole::listener;
  inet.local.assign(16, 1);
  return {encode(pipe),
          encode(Eventfd{7, true}),
          encode(Timerfd{1, 3, 5, 6, 7, 8}),
          encode(Signalfd{0x200}),
          encode(Inotify{{{1, 2, "/tmp"}}}),
          encode(Epoll{{{5, 6, 1, 77}, {7, 7, 2, 78}}}),
          encode(regular),
          encode(memory),
          encode(pair),
          encode(inet)};
}

/// In memory of exactly that size, so that a sanitizer sees a read of one byte too many.
int accepted(const Input& input) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[input.size()]);
  std::copy(input.begin(), input.end(), exact.get());
  return test::exercise_payload(Bytes(exact.get(), input.size()));
}

TEST(FilesPayload, WhatIsWrittenIsRead) {
  for (const Input& sample : samples()) EXPECT_GE(accepted(sample), 1);
  const auto memory = decode<Memory>(samples()[7]);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->content.extents[1].offset, 50u);
  EXPECT_EQ(memory->locks[0].kind, LockKind::posix);
  const auto pair = decode<UnixSocket>(samples()[8]);
  ASSERT_TRUE(pair.ok());
  EXPECT_EQ(pair->name.size(), 9u);
  EXPECT_EQ(pair->options[0].a, -1);
}

TEST(FilesPayload, APartOrMoreIsRefused) {
  const Input whole = samples()[8];
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(decode<UnixSocket>(Bytes(whole.data(), n)).code(), Errc::bad_descriptor) << n;
  }
  Input more = whole;
  more.push_back(0);
  EXPECT_EQ(decode<UnixSocket>(more).code(), Errc::bad_descriptor);
}

TEST(FilesPayload, ALengthIsNotBelieved) {
  Input epoll = encode(Epoll{{{5, 6, 1, 77}}});
  epoll[0] = epoll[1] = 0xff;  // 65535 entries
  EXPECT_EQ(decode<Epoll>(epoll).code(), Errc::bad_descriptor);
  Input role = samples()[9];
  role[0] = static_cast<std::uint8_t>(SocketRole::last) + 1;
  EXPECT_EQ(decode<InetSocket>(role).code(), Errc::bad_descriptor);
}

TEST(FilesPayload, SurvivesRandomChanges) {
  std::mt19937 random(73);
  const std::vector<Input> seeds = samples();
  for (int i = 0; i < 40000; ++i) {
    Input input = seeds[random() % seeds.size()];
    for (std::uint32_t changes = 1 + random() % 4; changes > 0; --changes) {
      input[random() % input.size()] =
          static_cast<std::uint8_t>(random() % 3 == 0 ? 0xff : random());
    }
    if (random() % 4 == 0) input.resize(random() % (input.size() + 1));
    (void)accepted(input);
  }
}

}  // namespace
}  // namespace mitosis::files
