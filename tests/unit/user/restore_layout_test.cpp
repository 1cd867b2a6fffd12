// SPDX-License-Identifier: MIT
// layout(): each row of the table of mappings, and what both sides must agree on. World: user.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

namespace mitosis::restore {
namespace {

using descriptor::VmaKind;
using descriptor::VmaRecord;

constexpr std::uint64_t base = 0x10000000;

/// A descriptor of VMAs, each given a run on demand.
class RestoreLayout : public testing::Test {
 protected:
  RestoreLayout() {
    builder_.owners.push_back({});
    builder_.threads.push_back({});
  }
  /// `pages` pages from page `at` (after `base`) on.
  std::uint32_t vma(VmaKind kind, std::uint64_t at, std::uint64_t pages, std::uint32_t flags = 0) {
    VmaRecord v = {};
    v.start = base + at * page_size;
    v.end = v.start + pages * page_size;
    v.file_size = 5 * page_size + 1;
    v.prot = PROT_READ;
    v.kind = static_cast<std::uint32_t>(kind);
    v.path = builder_.string("/lib/some.so");
    v.flags = flags;
    builder_.vmas.push_back(v);
    return static_cast<std::uint32_t>(builder_.vmas.size() - 1);
  }
  void run(std::uint64_t at, std::uint64_t pages) {
    const PageNumber first = page_of(base) + at;
    builder_.add_run({first, pages}, first, 0, false);
  }
  std::vector<Mapping> lay(bool cache_local, std::vector<std::uint32_t> carried = {}) {
    const auto bytes = builder_.finish();
    auto view = DescriptorView::parse(bytes);
    EXPECT_TRUE(view.ok()) << view.error().subject.c_str();
    auto mappings = layout(*view, {cache_local, carried});
    EXPECT_TRUE(mappings.ok()) << mappings.error().subject.c_str();
    return std::move(*mappings);
  }

  DescriptorBuilder builder_{descriptor::Arch::x86_64, HandlerId{1}, Generation{1}};
};

TEST_F(RestoreLayout, AnonymousMemoryIsWatchedOnlyWhereItHasPages) {
  vma(VmaKind::anonymous, 0, 4);
  vma(VmaKind::anonymous, 8, 4);
  run(9, 1);
  const auto m = lay(false);
  ASSERT_EQ(m.size(), 2u);
  EXPECT_EQ(m[0].kind, MappingKind::anonymous);
  EXPECT_EQ(m[0].faults, Faults::none);
  EXPECT_EQ(m[1].kind, MappingKind::anonymous);
  EXPECT_EQ(m[1].faults, Faults::missing);
  EXPECT_EQ(cache_pages(m), 0u);
}

TEST_F(RestoreLayout, WithACacheItLivesInTheMemfdAndMinorFaultsAreSeen) {
  vma(VmaKind::anonymous, 0, 4);
  vma(VmaKind::anonymous, 8, 4);
  run(9, 1);
  const auto m = lay(true);
  EXPECT_EQ(m[0].kind, MappingKind::anonymous);
  EXPECT_EQ(m[0].faults, Faults::none);
  EXPECT_EQ(m[1].kind, MappingKind::cache);
  EXPECT_EQ(m[1].faults, Faults::missing_and_minor);
}

TEST_F(RestoreLayout, NoVmaFollowsAnotherInTheMemfdWithoutAHole) {
  vma(VmaKind::anonymous, 0, 4);
  run(0, 4);
  vma(VmaKind::anonymous, 4, 6);
  run(4, 1);
  const auto m = lay(true);
  EXPECT_EQ(m[0].cache_page, 0u);
  EXPECT_EQ(m[1].cache_page, 4 + cache_hole_pages);
  EXPECT_EQ(cache_pages(m), 4 + cache_hole_pages + 6);
}

TEST_F(RestoreLayout, ACleanPrivateFileIsTheLocalOne) {
  vma(VmaKind::private_file, 0, 4);
  for (const bool cache : {false, true}) {
    const auto m = lay(cache);
    EXPECT_EQ(m[0].kind, MappingKind::private_file);
    EXPECT_EQ(m[0].faults, Faults::none);
  }
}

TEST_F(RestoreLayout, ADirtyPrivateFileNeedsEveryFault) {
  vma(VmaKind::private_file, 0, 4, descriptor::vma_dirty);
  run(0, 4);
  EXPECT_EQ(lay(false)[0].kind, MappingKind::anonymous);
  EXPECT_EQ(lay(false)[0].faults, Faults::missing);
  EXPECT_EQ(lay(true)[0].kind, MappingKind::cache);
  EXPECT_EQ(lay(true)[0].faults, Faults::missing_and_minor);
}

TEST_F(RestoreLayout, AMissingFilesPagesComeFromTheParent) {
  const auto lib = vma(VmaKind::private_file, 0, 4);
  const auto data = vma(VmaKind::shared_file, 8, 4);
  EXPECT_EQ(lay(false, {lib, data})[0].kind, MappingKind::anonymous);
  EXPECT_EQ(lay(false, {lib, data})[0].faults, Faults::missing);
  EXPECT_EQ(lay(true, {lib, data})[0].kind, MappingKind::cache);
  EXPECT_EQ(lay(true, {lib, data})[0].faults, Faults::missing_and_minor);
  EXPECT_EQ(lay(true, {lib, data})[1].kind, MappingKind::cache);
  EXPECT_EQ(lay(true, {lib})[1].kind, MappingKind::shared_file);
}

TEST_F(RestoreLayout, WhatIsCarriedDoesNotMoveWhatOthersHaveInTheMemfd) {
  const auto lib = vma(VmaKind::private_file, 0, 4);
  vma(VmaKind::anonymous, 8, 4);
  run(8, 4);
  EXPECT_EQ(lay(true)[1].cache_page, lay(true, {lib})[1].cache_page);
}

TEST_F(RestoreLayout, ACarriedFilesRunEndsWithTheFile) {
  const auto at = vma(VmaKind::private_file, 0, 10);
  VmaRecord v = builder_.vmas[at];
  EXPECT_EQ(carried_run(v).count, 6u);  // five pages and a byte
  EXPECT_EQ(carried_run(v).page, v.start >> page_shift);
  EXPECT_EQ(carried_run(v).source, v.start >> page_shift);
  v.file_offset = 4 * page_size;
  EXPECT_EQ(carried_run(v).count, 2u);
  v.file_offset = 7 * page_size;
  EXPECT_EQ(carried_run(v).count, 0u);
}

TEST_F(RestoreLayout, TheStackIsAnonymousAndHasRoomToGrow) {
  vma(VmaKind::stack, 4096, 33);
  run(4096 + 32, 1);
  for (const bool cache : {false, true}) {
    const auto m = lay(cache);
    ASSERT_EQ(m.size(), 2u);
    EXPECT_EQ(m[0].kind, MappingKind::stack_filler);
    EXPECT_EQ(m[0].bytes(), stack_room);
    EXPECT_EQ(m[0].end, m[1].start);
    EXPECT_EQ(m[0].faults, Faults::none);
    EXPECT_EQ(m[1].kind, MappingKind::stack);
    EXPECT_EQ(m[1].faults, Faults::missing);
  }
}

TEST_F(RestoreLayout, TheRoomBelowTheStackEndsAboveTheNextMapping) {
  vma(VmaKind::anonymous, 0, 3000);
  vma(VmaKind::stack, 4096, 33);
  auto m = lay(false);
  ASSERT_EQ(m.size(), 3u);
  EXPECT_EQ(m[1].kind, MappingKind::stack_filler);
  EXPECT_EQ(m[1].start, m[0].end + stack_guard);
  builder_.vmas[0].end = builder_.vmas[1].start;  // no room at all
  m = lay(false);
  ASSERT_EQ(m.size(), 2u);
  EXPECT_EQ(m[1].kind, MappingKind::stack);
}

TEST_F(RestoreLayout, VdsoAndVvarAreTheLaunchersOwn) {
  vma(VmaKind::vvar, 0, 4);
  vma(VmaKind::vvar_vclock, 4, 2);
  vma(VmaKind::vdso, 6, 2);
  run(6, 2);
  for (const Mapping& m : lay(true)) {
    EXPECT_EQ(m.kind, MappingKind::special);
    EXPECT_EQ(m.faults, Faults::none);
  }
}

TEST_F(RestoreLayout, RefusesToCarryWhatIsNoCleanFile) {
  const auto heap = vma(VmaKind::anonymous, 0, 4);
  const auto lib = vma(VmaKind::private_file, 8, 4);
  const auto more = vma(VmaKind::private_file, 16, 4);
  const auto data = vma(VmaKind::private_file, 24, 4, descriptor::vma_dirty);
  const auto bytes = builder_.finish();
  auto view = DescriptorView::parse(bytes);
  ASSERT_TRUE(view.ok());
  for (const std::vector<std::uint32_t>& bad :
       {std::vector<std::uint32_t>{heap}, {data}, {77}, {more, lib}, {lib, lib}}) {
    EXPECT_EQ(layout(*view, {false, bad}).code(), Errc::invalid_argument);
  }
  EXPECT_TRUE(layout(*view, {false, std::vector<std::uint32_t>{lib, more}}).ok());
}

}  // namespace
}  // namespace mitosis::restore
