// SPDX-License-Identifier: MIT
// Files that are made anew: what a descriptor can say of them, and what is refused of it.
// World: user. That each kind comes along whole is tests/live/file_states' to say.
#include <gtest/gtest.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <cstdlib>
#include <filesystem>

namespace mitosis::restore {
namespace {

using descriptor::FileKind;

class RestoreFileKinds : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mitosis-kinds-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    builder_.owners.push_back({});
    builder_.threads.push_back({});
    descriptor::VmaRecord vma = {};
    vma.start = 0x10000000;
    vma.end = vma.start + page_size;
    vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::anonymous);
    vma.path = descriptor::no_string;
    builder_.vmas.push_back(vma);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  template <class P>
  void add(int fd, FileKind kind, const P& payload, int flags = O_RDWR) {
    add_bytes(fd, kind, files::encode(payload), flags);
  }
  void add_bytes(int fd, FileKind kind, const std::vector<std::uint8_t>& payload,
                 int flags = O_RDWR) {
    descriptor::FileRecord record = {};
    record.fd = fd;
    record.kind = static_cast<std::uint32_t>(kind);
    record.flags = static_cast<std::uint32_t>(flags);
    record.path = descriptor::no_string;
    record.same_as = -1;
    record.data = builder_.file_payload(payload);
    builder_.files.push_back(record);
  }
  /// Opens all that was added.
  Result<Files> open() {
    bytes_ = builder_.finish();
    auto view = DescriptorView::parse(bytes_);
    if (!view) return view.error();
    return open_files(*view, FdRoom(*view));
  }
  [[nodiscard]] Errc refusal() {
    const auto files = open();
    return files ? Errc::ok : files.error().code;
  }

  std::string directory_;
  std::vector<std::uint8_t> bytes_;
  DescriptorBuilder builder_{descriptor::Arch::x86_64, HandlerId{1}, Generation{1}};
};

files::UnixSocket pair_with(int peer) {
  files::UnixSocket socket;
  socket.role = files::SocketRole::pair;
  socket.type = SOCK_STREAM;
  socket.peer = peer;
  return socket;
}

TEST_F(RestoreFileKinds, APayloadMustBeThereAndWhole) {
  for (const auto& [kind, name] : std::initializer_list<std::pair<FileKind, const char*>>{
           {FileKind::pipe, "pipe"},
           {FileKind::eventfd, "eventfd"},
           {FileKind::timerfd, "timerfd"},
           {FileKind::signalfd, "signalfd"},
           {FileKind::inotify, "inotify"},
           {FileKind::epoll, "epoll"},
           {FileKind::memory, "memory"},
           {FileKind::unix_socket, "unix socket"},
           {FileKind::inet_socket, "inet socket"}}) {
    for (const std::size_t bytes : {0u, 1u, 3u}) {
      builder_.files.clear();
      add_bytes(5, kind, std::vector<std::uint8_t>(bytes, 0xff));
      EXPECT_EQ(refusal(), Errc::bad_descriptor) << name << ", " << bytes;
    }
  }
}

TEST_F(RestoreFileKinds, WhatBelongsTogetherMustBeThere) {
  files::Pipe pipe;
  pipe.first = 9;
  add(5, FileKind::pipe, pipe);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  for (const int peer : {-1, 5, 6, 7}) {  // none, itself, of another kind, of another pair
    builder_.files.clear();
    add(5, FileKind::unix_socket, pair_with(peer));
    add(6, FileKind::eventfd, files::Eventfd{});
    add(7, FileKind::unix_socket, pair_with(8));
    EXPECT_EQ(refusal(), Errc::bad_descriptor) << peer;
  }
  builder_.files.clear();
  add(5, FileKind::unix_socket, pair_with(7));
  add(7, FileKind::unix_socket, pair_with(5));
  EXPECT_EQ(refusal(), Errc::ok);
  builder_.files.clear();
  files::Memory memory;
  memory.first = 9;
  add(5, FileKind::memory, memory);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  builder_.files.clear();
  memory.first = 5;
  memory.shared = 0;
  add(5, FileKind::memory, memory);
  EXPECT_EQ(refusal(), Errc::bad_descriptor) << "there is no shared memory";
}

TEST_F(RestoreFileKinds, EpollEntriesNameFilesThatAreThere) {
  for (const files::EpollEntry& entry : std::initializer_list<files::EpollEntry>{
           {6, 6, 1, 0}, {-1, 5, 1, 0}, {1 << 21, 5, 1, 0}, {2, 5, 1, 0}, {6, -5, 1, 0}}) {
    builder_.files.clear();
    add(5, FileKind::eventfd, files::Eventfd{});
    add(9, FileKind::epoll, files::Epoll{{entry}});
    EXPECT_EQ(refusal(), Errc::bad_descriptor) << entry.number << " of " << entry.source;
  }
}

TEST_F(RestoreFileKinds, TheResumersStreamsMayBeFilesThatNoSetCanWatch) {
  const UniqueFd input(::dup(STDIN_FILENO));
  ASSERT_EQ(::dup2(UniqueFd(::open("/dev/null", O_RDONLY)).get(), STDIN_FILENO), STDIN_FILENO);
  descriptor::FileRecord stream = {};
  stream.kind = static_cast<std::uint32_t>(FileKind::standard_stream);
  stream.same_as = -1;
  builder_.files.push_back(stream);
  add(5, FileKind::eventfd, files::Eventfd{});
  add(9, FileKind::epoll, files::Epoll{{{0, 0, 1, 0}, {5, 5, 1, 0}, {77, 5, 1, 0}}});
  const auto files = open();
  (void)::dup2(input.get(), STDIN_FILENO);
  ASSERT_TRUE(files.ok()) << files.error().subject.c_str();
  ASSERT_EQ(files->epolls.size(), 1u);
  EXPECT_EQ(files->epolls[0].entry.number, 5);
  ASSERT_EQ(files->moved.size(), 1u);
  EXPECT_EQ(files->moved[0].entry.number, 77);
  EXPECT_EQ(files->moved[0].source, files->now(5));
  EXPECT_GT(files->now(5), 77) << "no descriptor of the launcher's is at a number that is needed";
}

TEST_F(RestoreFileKinds, NumbersAreChecked) {
  files::Memory memory;
  memory.first = 5;
  memory.content.size = 10;
  memory.content.extents = {{8, {1, 2, 3}}};
  add(5, FileKind::memory, memory);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  builder_.files.clear();
  add(5, FileKind::timerfd, files::Timerfd{1, 0, -1, 0, 0, 0});
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  for (const int wd : {0, -1, 1 << 24}) {
    builder_.files.clear();
    add(5, FileKind::inotify, files::Inotify{{{wd, 2, directory_}}});
    EXPECT_EQ(refusal(), Errc::bad_descriptor);
  }
  builder_.files.clear();
  files::InetSocket inet;
  inet.family = AF_INET;
  inet.type = SOCK_STREAM;
  inet.protocol = IPPROTO_TCP;
  inet.local.assign(5, 0);
  add(5, FileKind::inet_socket, inet);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  builder_.files.clear();
  inet.local.clear();
  inet.options = {{files::option_count, 1, 0}};
  add(5, FileKind::inet_socket, inet);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  builder_.files.clear();
  inet.options.clear();
  inet.family = AF_PACKET;
  add(5, FileKind::inet_socket, inet);
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
}

TEST_F(RestoreFileKinds, AFailedResumeLeavesNoSocketBehind) {
  const std::string path = directory_ + "/socket";
  files::UnixSocket listener;
  listener.role = files::SocketRole::listener;
  listener.type = SOCK_STREAM;
  listener.name = path;
  listener.mode = 0600;
  add(5, FileKind::unix_socket, listener);
  {
    const auto files = open();
    ASSERT_TRUE(files.ok()) << files.error().subject.c_str();
    EXPECT_TRUE(std::filesystem::exists(path));
    // In use: refused, and left alone.
    const auto second = open();
    EXPECT_EQ(second.code(), Errc::file_missing);
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  add_bytes(6, FileKind::eventfd, {});
  EXPECT_EQ(refusal(), Errc::bad_descriptor);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RestoreFileKinds, APathThatNobodyListensAtIsReplaced) {
  files::UnixSocket listener;
  listener.role = files::SocketRole::listener;
  listener.type = SOCK_STREAM;
  listener.name = directory_ + "/socket";
  listener.mode = 0640;
  const auto at = detail::unix_address({}, listener.name);
  ASSERT_TRUE(at.ok());
  {
    const UniqueFd gone(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(gone.get(), at->raw(), at->bytes), 0);
  }
  add(5, FileKind::unix_socket, listener);
  const auto files = open();
  ASSERT_TRUE(files.ok()) << files.error().subject.c_str();
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_EQ(::connect(client.get(), at->raw(), at->bytes), 0);
}

TEST_F(RestoreFileKinds, ADroppedFileReadsAsEndedAndRefusesWrites) {
  add_bytes(5, FileKind::dropped, {});
  const auto files = open();
  ASSERT_TRUE(files.ok());
  char byte = 0;
  EXPECT_EQ(::read(files->now(5), &byte, 1), 0);
  EXPECT_EQ(::send(files->now(5), &byte, 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

}  // namespace
}  // namespace mitosis::restore
