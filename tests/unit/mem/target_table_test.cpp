// SPDX-License-Identifier: MIT
// A target can be read with its name, in its ranges, until it is revoked, and not a moment longer.
// World: user.
#include <gtest/gtest.h>

#include <mitosis/mem/target_table.hpp>

#include <atomic>
#include <cstring>
#include <latch>
#include <thread>
#include <vector>

namespace mitosis {
namespace {

/// Every byte of page p is p; can be told to wait in the middle of a read.
class Source final : public PageSource {
 public:
  Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    ++serving;
    if (std::latch* const hold = gate.exchange(nullptr)) {
      entered->count_down();
      hold->wait();
    }
    for (std::size_t i = 0; i < into.size(); ++i) {
      into[i] = static_cast<std::uint8_t>((address + i) >> page_shift);
    }
    --serving;
    return Errc::ok;
  }
  std::latch* entered = nullptr;
  std::atomic<std::latch*> gate{nullptr};  ///< holds the next read up
  std::atomic<int> serving{0};
};

const PageRanges allowed({{PageNumber{10}, 4}, {PageNumber{14}, 1}, {PageNumber{20}, 1}});

class TargetTableTest : public testing::Test {
 protected:
  Errc read(TargetName name, std::uint64_t page, std::size_t bytes = page_size) {
    buffer_.assign(bytes, 0xff);
    return table_.read(name, page * page_size, buffer_);
  }
  TargetName create() {
    auto name = table_.create(source_, allowed);
    EXPECT_TRUE(name.ok());
    return *name;
  }
  TargetTable table_;
  std::shared_ptr<Source> source_ = std::make_shared<Source>();
  std::vector<std::uint8_t> buffer_;
};

TEST_F(TargetTableTest, ReadsWithinItsRangesOnly) {
  const TargetName name = create();
  ASSERT_EQ(read(name, 11), Errc::ok);
  EXPECT_EQ(buffer_[0], 11);
  EXPECT_EQ(read(name, 10, 5 * page_size), Errc::ok) << "ranges that touch are one";
  EXPECT_EQ(read(name, 14, page_size + 1), Errc::page_unavailable);
  EXPECT_EQ(read(name, 9), Errc::page_unavailable);
  EXPECT_EQ(read(name, 15), Errc::page_unavailable);
  EXPECT_EQ(table_.read(name, ~0ull, buffer_), Errc::page_unavailable);
}

TEST_F(TargetTableTest, NeedsNumberAndKey) {
  const TargetName name = create();
  EXPECT_EQ(read({name.number, name.key ^ 1}, 11), Errc::revoked);
  EXPECT_EQ(read({name.number ^ 1, name.key}, 11), Errc::revoked);
  EXPECT_EQ(read({0, 0}, 11), Errc::revoked);
}

TEST_F(TargetTableTest, KeysAreDrawnAnew) {
  const TargetName a = create();
  const TargetName b = create();
  EXPECT_NE(a.number, b.number);
  EXPECT_NE(a.key, b.key);
  EXPECT_NE(a.number, 0u);
}

TEST_F(TargetTableTest, RevokeEndsAccessToOneTarget) {
  const TargetName name = create();
  const TargetName other = create();
  table_.revoke(name.number);
  EXPECT_EQ(read(name, 11), Errc::revoked);
  EXPECT_EQ(read(other, 11), Errc::ok);
  table_.revoke(name.number);  // again: nothing happens
  table_.revoke_all();
  EXPECT_EQ(read(other, 11), Errc::revoked);
  EXPECT_EQ(source_.use_count(), 1) << "a revoked target lets go of its source";
}

TEST_F(TargetTableTest, RevokeWaitsForTheReadUnderWay) {
  const TargetName name = create();
  std::latch entered(1), gate(1);
  source_->entered = &entered;
  source_->gate = &gate;
  std::thread reader([&] {
    std::uint8_t byte = 0;
    EXPECT_EQ(table_.read(name, 11 * page_size, MutableBytes(&byte, 1)), Errc::ok);
  });
  entered.wait();
  std::atomic<bool> revoked{false};
  std::thread revoker([&] {
    table_.revoke(name.number);
    EXPECT_EQ(source_->serving, 0);
    revoked = true;
  });
  // Access has ended as soon as the revoker closes it, even while it still waits.
  while (read(name, 11, 1) == Errc::ok) std::this_thread::yield();
  EXPECT_FALSE(revoked);
  gate.count_down();
  reader.join();
  revoker.join();
}

TEST_F(TargetTableTest, ReadersAndRevokersAtOnce) {
  for (int round = 0; round < 50; ++round) {
    const TargetName name = create();
    std::atomic<bool> over{false};
    std::vector<std::thread> readers;
    readers.reserve(3);
    for (int i = 0; i < 3; ++i) {
      readers.emplace_back([&] {
        std::uint8_t bytes[64];
        for (;;) {
          const bool before = over;
          const Errc e = table_.read(name, 12 * page_size, MutableBytes(bytes));
          if (e == Errc::revoked) return;
          ASSERT_EQ(e, Errc::ok);
          ASSERT_FALSE(before) << "served after revoke had returned";
        }
      });
    }
    std::thread second([&] {
      table_.revoke(name.number);
      over = true;
    });
    table_.revoke(name.number);
    over = true;
    second.join();
    for (auto& r : readers) r.join();
  }
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(TargetTableTest, RestoredUnderItsOldName) {
  const TargetName name{77, 88};
  ASSERT_TRUE(table_.restore(name, source_, allowed).ok());
  EXPECT_EQ(read(name, 20), Errc::ok);
  EXPECT_EQ(table_.restore(name, source_, allowed).error().code, Errc::invalid_argument);
  EXPECT_EQ(table_.restore({0, 1}, source_, allowed).error().code, Errc::invalid_argument);
}

TEST_F(TargetTableTest, UsageForLeases) {
  const TargetName name = create();
  EXPECT_TRUE(table_.touch(name.number, 123));
  (void)read(name, 11);
  (void)read(name, 12);
  (void)read(name, 99);
  const auto usage = table_.usage(name.number);
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->last_touch_ns, 123u);
  EXPECT_EQ(usage->reads, 2u);
  EXPECT_EQ(usage->bytes, 2 * page_size);
  table_.revoke(name.number);
  EXPECT_FALSE(table_.touch(name.number, 124));
  EXPECT_FALSE(table_.usage(name.number));
}

}  // namespace
}  // namespace mitosis
