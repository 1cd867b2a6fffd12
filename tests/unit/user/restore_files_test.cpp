// SPDX-License-Identifier: MIT
// Reopening the parent's files: what of open(2)'s flags is repeated, and what never is.
// World: user.
#include <gtest/gtest.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/mapped_files.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace mitosis::restore {
namespace {

using descriptor::FileKind;

class RestoreFiles : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mitosis-files-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    std::ofstream(file()) << "0123456789";
    builder_.owners.push_back({});
    builder_.threads.push_back({});
    struct stat is = {};
    ASSERT_EQ(::stat(file().c_str(), &is), 0);
    descriptor::VmaRecord vma = {};
    vma.start = 0x10000000;
    vma.end = vma.start + page_size;
    vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::private_file);
    vma.path = builder_.string(file());
    vma.file_size = 10;
    vma.file_mtime_ns = static_cast<std::uint64_t>(is.st_mtim.tv_sec) * 1'000'000'000u +
                        static_cast<std::uint64_t>(is.st_mtim.tv_nsec);
    builder_.vmas.push_back(vma);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string file() const { return directory_ + "/file"; }

  static Result<UniqueFd> open(const std::string& path, int flags, std::uint64_t offset = 0,
                               FileKind kind = FileKind::regular) {
    descriptor::FileRecord record = {};
    record.fd = 9;
    record.kind = static_cast<std::uint32_t>(kind);
    record.flags = static_cast<std::uint32_t>(flags);
    record.offset = offset;
    record.same_as = -1;
    return open_file(record, path.c_str());
  }

  std::string directory_;
  DescriptorBuilder builder_{descriptor::Arch::x86_64, HandlerId{1}, Generation{1}};
};

TEST_F(RestoreFiles, OffsetAndStatusFlagsAreTheParents) {
  const auto fd = open(file(), O_RDWR | O_APPEND | O_NONBLOCK, 4);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(::lseek(fd->get(), 0, SEEK_CUR), 4);
  const int flags = ::fcntl(fd->get(), F_GETFL);
  EXPECT_EQ(flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_APPEND | O_NONBLOCK);
  const auto blocking = open(file(), O_RDONLY);
  ASSERT_TRUE(blocking.ok());
  EXPECT_EQ(::fcntl(blocking->get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
}

TEST_F(RestoreFiles, NothingIsCreatedOrTruncated) {
  ASSERT_TRUE(open(file(), O_RDWR | O_CREAT | O_TRUNC | O_EXCL, 10).ok());
  EXPECT_EQ(std::filesystem::file_size(file()), 10u);
  const auto missing = open(directory_ + "/missing", O_RDWR | O_CREAT);
  EXPECT_EQ(missing.code(), Errc::file_missing);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/missing"));
}

TEST_F(RestoreFiles, DirectoriesAndDevicesAreReopenedAsWhatTheyAre) {
  EXPECT_TRUE(open(directory_, O_RDONLY | O_DIRECTORY, 0, FileKind::directory).ok());
  EXPECT_TRUE(open("/dev/null", O_RDWR, 0, FileKind::character_device).ok());
  EXPECT_EQ(open("/dev/null", O_RDWR, 0, FileKind::regular).code(), Errc::file_missing);
  EXPECT_EQ(open(file(), O_RDWR, 0, FileKind::character_device).code(), Errc::file_missing);
}

TEST_F(RestoreFiles, TheyWaitAboveTheChildsNumbers) {
  for (const int fd : {3, 40}) {
    descriptor::FileRecord record = {};
    record.fd = fd;
    record.kind = static_cast<std::uint32_t>(FileKind::regular);
    record.path = builder_.string(file());
    record.same_as = -1;
    builder_.files.push_back(record);
  }
  const auto bytes = builder_.finish();
  const auto view = DescriptorView::parse(bytes);
  ASSERT_TRUE(view.ok()) << view.error().subject.c_str();
  const auto files = open_files(*view, FdRoom(*view));
  ASSERT_TRUE(files.ok());
  ASSERT_EQ(files->placed.size(), 2u);
  for (const PlacedFile& placed : files->placed) EXPECT_GT(placed.opened.get(), 40);
}

TEST_F(RestoreFiles, AMappedFileIsTheParentsIfSizeAndTimeAre) {
  for (const bool other_size : {false, true}) {
    for (const bool other_time : {false, true}) {
      auto builder = builder_;
      builder.vmas[0].file_size += other_size ? 1 : 0;
      builder.vmas[0].file_mtime_ns += other_time ? 1 : 0;
      const auto bytes = builder.finish();
      const auto view = DescriptorView::parse(bytes);
      ASSERT_TRUE(view.ok()) << view.error().subject.c_str();
      const auto mapped = MappedFiles::open(*view);
      ASSERT_TRUE(mapped.ok());
      const bool carried = other_size || other_time;
      EXPECT_EQ(mapped->carried().size(), carried ? 1u : 0u);
      EXPECT_EQ(mapped->fd(0) < 0, carried);
    }
  }
}

}  // namespace
}  // namespace mitosis::restore
