// SPDX-License-Identifier: MIT
// A snapshot gives the bytes as of prepare or an error, never zeros. World: user.
#include <sys/mman.h>

#include <gtest/gtest.h>

#include <mitosis/mem/image_source.hpp>
#include <mitosis/mem/shadow_source.hpp>

#include "child.hpp"

#include <cstring>
#include <memory>
#include <vector>

namespace mitosis {
namespace {

constexpr std::uint64_t pages = 16;

/// 16 pages, each filled with its number + 1; page 3 is PROT_NONE, page 9 is not mapped.
class SourceTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_ = static_cast<std::uint8_t*>(::mmap(nullptr, pages * page_size, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(memory_, MAP_FAILED);
    for (std::uint64_t p = 0; p < pages; ++p) {
      std::memset(memory_ + p * page_size, static_cast<int>(p + 1), page_size);
    }
    ::mprotect(memory_ + 3 * page_size, page_size, PROT_NONE);
    ::munmap(memory_ + 9 * page_size, page_size);
    shadow_ = std::make_unique<test::SleepingChild>();
    auto source = ShadowSource::open(shadow_->pid(), shadow_->pidfd());
    ASSERT_TRUE(source.ok());
    source_ = *source;
    // The parent goes on: none of this may be seen.
    std::memset(memory_, 0xee, page_size);
    std::memset(memory_ + 8 * page_size, 0xee, page_size);
  }
  void TearDown() override { ::munmap(memory_, pages * page_size); }
  [[nodiscard]] std::uint64_t at(std::uint64_t page, std::uint64_t byte = 0) const {
    return reinterpret_cast<std::uint64_t>(memory_) + page * page_size + byte;
  }
  [[nodiscard]] PageRange range(std::uint64_t first, std::uint64_t count) const {
    return {page_of(at(first)), count};
  }

  std::uint8_t* memory_ = nullptr;
  std::unique_ptr<test::SleepingChild> shadow_;
  std::shared_ptr<ShadowSource> source_;
};

TEST_F(SourceTest, ShadowHasTheBytesAsOfPrepare) {
  std::vector<std::uint8_t> bytes(2 * page_size - 100);
  ASSERT_EQ(source_->read(at(7, 100), bytes), Errc::ok);
  EXPECT_EQ(bytes[0], 8);
  EXPECT_EQ(bytes[page_size - 101], 8);
  EXPECT_EQ(bytes[page_size - 100], 9);
}

TEST_F(SourceTest, ShadowReadsProtectedPages) {
  std::uint8_t byte = 0;
  ASSERT_EQ(source_->read(at(3), MutableBytes(&byte, 1)), Errc::ok);
  EXPECT_EQ(byte, 4);
}

TEST_F(SourceTest, ShadowRefusesWhatIsNotMappedEvenInPart) {
  std::vector<std::uint8_t> bytes(3 * page_size);
  EXPECT_EQ(source_->read(at(8), bytes), Errc::page_unavailable);
  EXPECT_EQ(source_->read(at(9), MutableBytes(bytes).sub(0, 8)), Errc::page_unavailable);
  EXPECT_EQ(source_->read(~0ull - 4, MutableBytes(bytes).sub(0, 8)), Errc::page_unavailable);
  EXPECT_EQ(source_->read(std::uint64_t{1} << 63, MutableBytes(bytes).sub(0, 8)),
            Errc::page_unavailable);
}

TEST_F(SourceTest, ADeadShadowIsAnErrorNotZeros) {
  std::uint8_t byte = 0x55;
  shadow_->kill();
  EXPECT_EQ(source_->read(at(1), MutableBytes(&byte, 1)), Errc::page_unavailable);  // a zombie
  shadow_->reap();
  EXPECT_EQ(source_->read(at(1), MutableBytes(&byte, 1)), Errc::page_unavailable);
}

TEST_F(SourceTest, OpeningADeadShadowIsRefusedEvenIfItsPidLives) {
  test::SleepingChild other;
  shadow_->kill();
  // The pid of another process, with the dead one's pidfd: as after the pid was given away.
  const auto source = ShadowSource::open(other.pid(), shadow_->pidfd());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.code(), Errc::page_unavailable);
}

TEST_F(SourceTest, ImageOutlivesTheShadow) {
  const PageRanges ranges({range(12, 2), range(0, 2), range(2, 5)});
  auto fd = build_image(*source_, ranges);
  ASSERT_TRUE(fd.ok());
  shadow_->end();
  const auto image = ImageSource::map(fd->get(), ranges);
  fd->reset();
  ASSERT_TRUE(image.ok());
  ImageSource& source = **image;
  std::vector<std::uint8_t> bytes(7 * page_size);
  ASSERT_EQ(source.read(at(0), bytes), Errc::ok);
  for (std::uint64_t p = 0; p < 7; ++p) {
    ASSERT_EQ(bytes[p * page_size], p + 1);
    ASSERT_EQ(bytes[(p + 1) * page_size - 1], p + 1);
  }
  const Bytes view = source.view(at(13), page_size);
  ASSERT_EQ(view.size(), page_size);
  EXPECT_EQ(view[0], 14);
}

TEST_F(SourceTest, ImageHasNothingButItsRanges) {
  const PageRanges ranges({range(0, 2), range(12, 2)});
  auto fd = build_image(*source_, ranges);
  ASSERT_TRUE(fd.ok());
  const auto image = ImageSource::map(fd->get(), ranges);
  ASSERT_TRUE(image.ok());
  std::vector<std::uint8_t> bytes(page_size);
  EXPECT_EQ((*image)->read(at(2), bytes), Errc::page_unavailable);
  EXPECT_EQ((*image)->read(at(1, 1), bytes), Errc::page_unavailable);
  EXPECT_EQ((*image)->read(at(11), bytes), Errc::page_unavailable);
  EXPECT_TRUE((*image)->view(at(13, 1), page_size).empty());
  EXPECT_TRUE((*image)->view(0, 1).empty());
  EXPECT_TRUE((*image)->view(at(0), ~std::size_t{0}).empty());
}

TEST_F(SourceTest, ImageIsSealedAndChecked) {
  const PageRanges ranges({range(0, 2)});
  auto fd = build_image(*source_, ranges);
  ASSERT_TRUE(fd.ok());
  EXPECT_LT(::pwrite(fd->get(), "x", 1, 0), 0);
  EXPECT_LT(::ftruncate(fd->get(), 0), 0);
  EXPECT_EQ(ImageSource::map(fd->get(), PageRanges({range(0, 3)})).code(), Errc::invalid_argument);
}

TEST_F(SourceTest, AnImageOfPagesThatCannotBeHadIsNotBuilt) {
  const auto fd = build_image(*source_, PageRanges({range(8, 3)}));
  ASSERT_FALSE(fd.ok());
  EXPECT_EQ(fd.code(), Errc::page_unavailable);
  EXPECT_EQ(fd.error().address, at(8));
}

/// While it reads, another thread's process is forked, as the agent's helpers are.
class ForkingSource final : public PageSource {
 public:
  explicit ForkingSource(PageSource& from) : from_(from) {}
  Errc read(std::uint64_t address, MutableBytes to) noexcept override {
    if (!helper_) helper_ = std::make_unique<test::SleepingChild>();
    return from_.read(address, to);
  }

 private:
  PageSource& from_;
  std::unique_ptr<test::SleepingChild> helper_;
};

TEST_F(SourceTest, AnImageIsSealedThoughAProcessWasForkedMeanwhile) {
  const PageRanges ranges({range(0, 3)});
  ForkingSource forking(*source_);
  const auto image = build_image(forking, ranges);
  ASSERT_TRUE(image.ok());
  EXPECT_NE(::fcntl(image->get(), F_GET_SEALS) & F_SEAL_WRITE, 0);
}

}  // namespace
}  // namespace mitosis
