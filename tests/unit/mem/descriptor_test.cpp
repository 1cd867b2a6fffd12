// SPDX-License-Identifier: MIT
// A descriptor says after the journey what it said before it, and stays small. World: user.
#include "sample_descriptor.hpp"

#include <gtest/gtest.h>

#include <mitosis/mem/descriptor/view.hpp>

namespace mitosis {
namespace {

using namespace descriptor;  // NOLINT
using test::sample_builder;

TEST(Descriptor, RoundTripKeepsEveryRecord) {
  const auto b = sample_builder();
  const auto bytes = b.finish();
  const auto parsed = DescriptorView::parse(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().subject.c_str();
  const DescriptorView& view = *parsed;

  EXPECT_EQ(view.arch(), Arch::x86_64);
  EXPECT_EQ(view.handler(), HandlerId{73});
  EXPECT_EQ(view.generation(), Generation{5});
  const auto same = [](const auto& array, const auto& vector) {
    ASSERT_EQ(array.size(), vector.size());
    for (std::size_t i = 0; i < vector.size(); ++i) {
      const auto record = array[i];
      EXPECT_EQ(std::memcmp(&record, &vector[i], sizeof record), 0) << "record " << i;
    }
  };
  same(view.vmas(), b.vmas);
  same(view.runs(), b.runs);
  same(view.owners(), b.owners);
  same(view.sigactions(), b.sigactions);
  same(view.threads(), b.threads);
  same(view.files(), b.files);
  same(view.limits(), b.limits);
  same(view.process(), b.process);
  same(view.scheduling(), b.scheduling);
  same(view.timers(), b.timers);
  same(view.shared_objects(), b.shared_objects);
  same(view.shared_runs(), b.shared_runs);
  same(view.pending_signals(), b.pending_signals);
  same(view.tree(), b.tree);
  same(view.filters(), b.filters);
  same(view.held_locks(), b.held_locks);
  EXPECT_EQ(view.filter_code().size(), 24u);
  EXPECT_STREQ(view.string(view.mm().exe), "/usr/bin/example");
  EXPECT_STREQ(view.string(view.machine().kernel_release), "6.1.0");
  EXPECT_STREQ(view.string(no_string), "");
  EXPECT_EQ(view.mm().brk, b.mm.brk);
  EXPECT_EQ(view.auxv().size(), 32u);
  EXPECT_EQ(view.vdso().size(), 24u);
  ASSERT_EQ(view.xstate(view.threads()[0]).size(), 832u);
  EXPECT_EQ(view.xstate(view.threads()[0])[2], 3);
  EXPECT_TRUE(view.xstate(view.threads()[1]).empty());
}

TEST(Descriptor, ReadsBytesAtAnyAlignment) {
  const auto bytes = test::sample_descriptor();
  for (std::size_t shift = 1; shift < 8; ++shift) {
    std::vector<std::uint8_t> moved(bytes.size() + shift);
    std::copy(bytes.begin(), bytes.end(), moved.begin() + static_cast<std::ptrdiff_t>(shift));
    const auto view = DescriptorView::parse(Bytes(moved).sub(shift));
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(view->vmas()[1].start, test::heap_at);
  }
}

TEST(Descriptor, RunsJoinOnlyWherePageSourceAndOwnerGoOn) {
  DescriptorBuilder b(Arch::x86_64, HandlerId{1}, Generation{1});
  b.add_run({PageNumber{10}, 2}, PageNumber{10}, 0);
  b.add_run({PageNumber{12}, 2}, PageNumber{12}, 0);          // goes on
  b.add_run({PageNumber{14}, 1}, PageNumber{99}, 0);          // from elsewhere
  b.add_run({PageNumber{15}, 1}, PageNumber{100}, 1);         // another owner
  b.add_run({PageNumber{16}, 1}, PageNumber{101}, 1, false);  // another VMA
  ASSERT_EQ(b.runs.size(), 4u);
  EXPECT_EQ(b.runs[0].count, 4u);
}

TEST(Descriptor, OptionalSectionsMayBeLeftOut) {
  auto b = sample_builder();
  b.sigactions.clear();
  b.files.clear();
  b.limits.clear();
  b.auxv.clear();
  b.vdso.clear();
  b.runs.clear();
  const auto bytes = b.finish();
  const auto view = DescriptorView::parse(bytes);
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(view->sigactions().empty());
  EXPECT_TRUE(view->runs().empty());
}

// The bar of the issue: at most 64 KiB for a process of 1 GiB.
TEST(Descriptor, OfOneGibibyteStaysUnder64KiB) {
  auto b = sample_builder();
  b.vmas.clear();
  b.runs.clear();
  const std::uint64_t pages_each = (std::uint64_t{1} << 30) / page_size / 500;
  for (std::uint64_t v = 0; v < 200; ++v) {
    const std::uint64_t at = test::heap_at + v * 0x1000000;
    const auto path = b.string("/usr/lib/x86_64-linux-gnu/library" + std::to_string(v / 5));
    b.vmas.push_back(test::vma(at, 3000, VmaKind::private_file, path));
    const std::uint64_t here = v < 100 ? 3 : 2;  // 500 in all
    for (std::uint64_t r = 0; r < here; ++r) {
      const PageNumber page = page_of(at) + r * (pages_each + 1);
      b.add_run({page, pages_each}, page, 0);
    }
  }
  const auto bytes = b.finish();
  const auto view = DescriptorView::parse(bytes);
  ASSERT_TRUE(view.ok()) << view.error().subject.c_str();
  EXPECT_EQ(view->runs().size(), 500u);
  EXPECT_LE(bytes.size(), std::size_t{64} << 10);
}

}  // namespace
}  // namespace mitosis
