// SPDX-License-Identifier: MIT
// RegisteredRoom: images are written where memory has been registered; nothing of one is ever
// another's; what is not needed goes back to the system.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <mitosis/mem/image_source.hpp>
#include <mitosis/mem/registered_room.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis {
namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t all = ~std::uint64_t{0};

/// Writes to its memory when it ends: that must still be mapped then.
class FakeRegion {
 public:
  FakeRegion(MutableBytes memory, int& live) : memory_(memory), live_(&live) { ++live; }
  FakeRegion(FakeRegion&& other) noexcept
      : memory_(other.memory_), live_(std::exchange(other.live_, nullptr)) {}
  FakeRegion& operator=(FakeRegion&&) = delete;
  ~FakeRegion() {
    if (live_ == nullptr) return;
    volatile std::uint8_t* const last = memory_.data() + memory_.size() - 1;
    *last = *last;
    --*live_;
  }
  [[nodiscard]] MutableBytes memory() const { return memory_; }

 private:
  MutableBytes memory_;
  int* live_;
};
using Room = RegisteredRoom<FakeRegion>;
constexpr std::uint64_t chunk = Room::chunk_bytes;

/// Pages whose bytes tell their address.
class Pattern final : public PageSource {
 public:
  static std::uint8_t byte(std::uint64_t address) {
    return static_cast<std::uint8_t>((address + 1) * 0x9e3779b97f4a7c15ull >> 56);
  }
  Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte(address + i);
    return Errc::ok;
  }
};

class RegisteredRoomTest : public testing::Test {
 protected:
  RegisteredRoomTest() : file_(::memfd_create("room", MFD_CLOEXEC)) { open(); }
  /// As the next worker does it.
  void open() {
    room_ = std::make_unique<Room>(
        file_.get(), 64 * mib, [this](MutableBytes memory) -> Result<FakeRegion> {
          ++tried_;
          if (during_) during_();
          if (refuse_) return Error(Errc::limit_exceeded, "memory that may be pinned");
          return FakeRegion(memory, live_);
        });
  }
  void settle(std::uint64_t budget = all) {
    while (room_->step(budget, now_)) {
    }
  }
  [[nodiscard]] std::uint64_t held() const {
    struct stat status = {};
    EXPECT_EQ(::fstat(file_.get(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  std::shared_ptr<const ImageExtent> take(std::uint64_t bytes) {
    auto taken = room_->take(bytes);
    EXPECT_TRUE(taken.ok());
    return taken.ok() ? *taken : nullptr;
  }
  static PageRanges pages(std::uint64_t bytes) {
    return PageRanges({{PageNumber{1000}, bytes >> page_shift}});
  }
  static void write(const ImageExtent& extent, std::uint64_t bytes) {
    auto to = SharedMapping::of(extent.file, bytes, PROT_READ | PROT_WRITE, extent.offset);
    Pattern source;
    ASSERT_TRUE(to.ok() && copy_image(source, pages(bytes), to->data()).ok());
  }
  static bool right(PageSource& source, std::uint64_t bytes) {
    std::vector<std::uint8_t> read(bytes);
    const std::uint64_t first = address(PageNumber{1000});
    if (source.read(first, read) != Errc::ok) return false;
    for (std::size_t i = 0; i < bytes; ++i) {
      if (read[i] != Pattern::byte(first + i)) return false;
    }
    return true;
  }

  UniqueFd file_;
  int live_ = 0, tried_ = 0;
  bool refuse_ = false;
  std::function<void()> during_;
  std::uint64_t now_ = Room::memory_ns;
  std::unique_ptr<Room> room_;
};

TEST_F(RegisteredRoomTest, AnImageIsWhereMemoryWasRegisteredBefore) {
  room_->begin();
  settle();
  EXPECT_EQ(room_->bytes_ready(), Room::first_bytes);
  const auto extent = take(5 * mib);
  const int tried = tried_;
  write(*extent, 5 * mib);
  const auto chunks = room_->claim(extent->offset);
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(tried_, tried);
  for (std::uint64_t at = 0; at < 5 * mib; ++at) {
    ASSERT_EQ(chunks[at / chunk].region.memory()[at % chunk],
              Pattern::byte(address(PageNumber{1000}) + at));
  }
  EXPECT_TRUE(room_->claim(extent->offset).empty()) << "once";
  auto image = ImageSource::map(extent, pages(5 * mib));
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE(right(**image, 5 * mib));
}

TEST_F(RegisteredRoomTest, OfALargerImageTheBeginningIsReadyAndThenThereIsRoomForAnother) {
  room_->begin();
  settle();
  const auto extent = take(40 * mib);
  write(*extent, 40 * mib);
  EXPECT_EQ(room_->claim(extent->offset).size(), Room::first_bytes / chunk);
  settle();
  EXPECT_EQ(room_->bytes_ready(), 40 * mib);
  EXPECT_EQ(room_->claim(take(40 * mib)->offset).size(), 40 * mib / chunk);
  const auto huge = take(200 * mib);
  settle();
  EXPECT_EQ(room_->bytes_ready(), 64 * mib) << "at most";
}

TEST_F(RegisteredRoomTest, WhatIsNotNeededGoesBackToTheSystem) {
  room_->begin();
  settle();
  {
    const auto extent = take(40 * mib);
    settle();
    EXPECT_EQ(held(), 80 * mib);
    settle(10 * mib);  // of the budget so much is left
    EXPECT_EQ(room_->bytes_ready(), 10 * mib);
    EXPECT_EQ(held(), 50 * mib);
    settle();
  }
  EXPECT_EQ(held(), 40 * mib) << "the image has ended, with what of it was never claimed";
  EXPECT_EQ(live_, 20);
  now_ += Room::memory_ns;
  settle();
  EXPECT_EQ(held(), Room::first_bytes) << "nobody needed as much of late";
  EXPECT_EQ(live_, 8);
  settle(0);
  EXPECT_EQ(held(), 0u);
  EXPECT_EQ(live_, 0);
}

TEST_F(RegisteredRoomTest, NoPlaceIsUsedTwiceAndAReaderKeepsItsImage) {
  room_->begin();
  settle();
  std::shared_ptr<ImageSource> image;
  std::uint64_t first = 0;
  {
    const auto extent = take(3 * mib);
    first = extent->offset;
    write(*extent, 3 * mib);
    image = *ImageSource::map(extent, pages(3 * mib));
  }
  EXPECT_TRUE(right(*image, 3 * mib));
  image.reset();
  settle();
  EXPECT_GT(take(3 * mib)->offset, first);
}

TEST_F(RegisteredRoomTest, TheNextWorkerKeepsImagesAndFreesTheRest) {
  room_->begin();
  settle();
  auto lost = take(3 * mib);
  auto kept = take(5 * mib);
  write(*kept, 5 * mib);
  auto late = take(3 * mib);
  const std::uint64_t offset = kept->offset;
  settle();
  // A worker that dies gives nothing back; that these end does, so the file is filled again.
  struct stat status = {};
  ASSERT_EQ(::fstat(file_.get(), &status), 0);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(status.st_size));
  ASSERT_EQ(::pread(file_.get(), bytes.data(), bytes.size(), 0), status.st_size);
  lost.reset();
  kept.reset();
  late.reset();
  room_.reset();
  ASSERT_EQ(::pwrite(file_.get(), bytes.data(), bytes.size(), 0), status.st_size);

  open();
  kept = room_->adopt(offset, 6 * mib);
  room_->begin();
  EXPECT_EQ(held(), 6 * mib);
  auto image = ImageSource::map(kept, pages(5 * mib));
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE(right(**image, 5 * mib));
  settle();
  EXPECT_GE(take(3 * mib)->offset, offset + 6 * mib);
}

TEST_F(RegisteredRoomTest, WhatCannotBeRegisteredIsNotTriedForAWhileAndImagesHaveRoom) {
  refuse_ = true;
  room_->begin();
  settle();
  settle();
  EXPECT_EQ(tried_, 1);
  EXPECT_EQ(held(), 0u);
  const auto extent = take(3 * mib);
  EXPECT_TRUE(room_->claim(extent->offset).empty());
  write(*extent, 3 * mib);
  refuse_ = false;
  now_ += Room::memory_ns;
  settle();
  EXPECT_EQ(room_->bytes_ready(), Room::first_bytes);
}

TEST_F(RegisteredRoomTest, AnImageThatIsWrittenWhileItsPlaceIsBeingRegisteredIsNotHarmed) {
  room_->begin();
  std::shared_ptr<const ImageExtent> extent;
  during_ = [&] {
    if (extent != nullptr) return;
    extent = take(3 * mib);
    write(*extent, 3 * mib);
  };
  settle();
  auto image = ImageSource::map(extent, pages(3 * mib));
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE(right(**image, 3 * mib));
  EXPECT_EQ(room_->bytes_ready(), Room::first_bytes);
}

}  // namespace
}  // namespace mitosis
