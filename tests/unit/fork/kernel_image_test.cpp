// SPDX-License-Identifier: MIT
// The kernel module's descriptor of a process that was resumed itself: what it has, and what its
// ancestors still hold for it.
#include <gtest/gtest.h>

#include "../../fuzz/kernel_shim.hpp"

#include <mitosis/fork/kernel/image.hpp>

#include <cstring>
#include <tuple>
#include <vector>

namespace mitosis::test {
namespace {

using Piece = std::tuple<std::uint64_t, std::uint64_t, std::uint32_t, std::uint16_t>;

class KernelImage : public ::testing::Test {
 protected:
  mitosis_image image = {};
  std::vector<mitosis_vma> vmas = {{0x10000, 0x40000, 3, MITOSIS_VMA_ANONYMOUS},
                                   {0x50000, 0x60000, 3, MITOSIS_VMA_ANONYMOUS}};
  std::vector<mitosis_run> runs;
  std::vector<mitosis_held> held;
  std::vector<mitosis_owner> ancestors;
  std::vector<std::uint8_t> bytes;

  /// Page, source, count, owner of each run of what was written.
  std::vector<Piece> encoded() {
    image.vmas = vmas.data();
    image.vma_count = vmas.size();
    image.runs = runs.data();
    image.run_count = runs.size();
    image.held = held.data();
    image.held_count = held.size();
    image.ancestors = ancestors.data();
    image.ancestor_count = ancestors.size();
    const mitosis_parent_name self = {76, 9, 0x1234, 5};
    bytes.resize(kernel::encode(image, self, {}));
    EXPECT_EQ(kernel::encode(image, self, MutableBytes(bytes)), bytes.size());
    const auto view = DescriptorView::parse(Bytes(bytes));
    EXPECT_TRUE(view.ok());
    std::vector<Piece> all;
    for (const descriptor::RunRecord run : view->runs()) {
      all.emplace_back(run.page, run.source, run.count, run.owner);
    }
    return all;
  }
};

TEST_F(KernelImage, WhatAProcessHasIsItsOwnInOrder) {
  runs = {{0x10, 2}, {0x20, 3}, {0x50, 1}};
  EXPECT_EQ(encoded(), (std::vector<Piece>{{0x10, 0, 2, 0}, {0x20, 2, 3, 0}, {0x50, 5, 1, 0}}));
}

TEST_F(KernelImage, WhatItHasNotIsAnAncestors) {
  ancestors.resize(2);
  held = {{0x10, 0x10, 700, 1, 0}, {0x52, 4, 9, 2, 0}};
  EXPECT_EQ(encoded(), (std::vector<Piece>{{0x10, 700, 0x10, 1}, {0x52, 9, 4, 2}}));
}

TEST_F(KernelImage, ItsOwnPagesCountWhereBothHaveThem) {
  ancestors.resize(1);
  runs = {{0x12, 2}, {0x16, 1}, {0x1e, 4}, {0x30, 1}};
  held = {
      {0x10, 0x10, 100, 1, 0}, {0x20, 4, 200, 1, 0}, {0x30, 1, 300, 1, 0}, {0x50, 1, 400, 1, 0}};
  EXPECT_EQ(encoded(), (std::vector<Piece>{{0x10, 100, 2, 1},
                                           {0x12, 0, 2, 0},
                                           {0x14, 104, 2, 1},
                                           {0x16, 2, 1, 0},
                                           {0x17, 107, 7, 1},
                                           {0x1e, 3, 4, 0},
                                           {0x22, 202, 2, 1},
                                           {0x30, 7, 1, 0},
                                           {0x50, 400, 1, 1}}));
}

TEST_F(KernelImage, PagesThatWereTakenAlongAreItsOwnByTheirNumber) {
  runs = {{0x10, 2}};
  held = {{0x12, 3, 2, 0, 0}};  // behind its own in the list of pages
  EXPECT_EQ(encoded(), (std::vector<Piece>{{0x10, 0, 2, 0}, {0x12, 2, 3, 0}}));
}

TEST_F(KernelImage, AncestorsAreNamedAsTheyWere) {
  ancestors.resize(1);
  ancestors[0] = {4, 6, 0xabc, 73, 8, {}};
  std::strcpy(ancestors[0].address, "10.0.0.1:7412");
  held = {{0x10, 1, 0, 1, 0}};
  encoded();
  const auto view = DescriptorView::parse(Bytes(bytes));
  ASSERT_EQ(view->owners().size(), 2u);
  const descriptor::OwnerRecord self = view->owners()[0], its = view->owners()[1];
  EXPECT_EQ(self.handler, 76u);
  EXPECT_EQ(self.generation, 9u);
  EXPECT_EQ(its.machine, 4u);
  EXPECT_EQ(its.target_number, 6u);
  EXPECT_EQ(its.target_key, 0xabcu);
  EXPECT_EQ(its.handler, 73u);
  EXPECT_EQ(its.generation, 8u);
  EXPECT_STREQ(its.address, "10.0.0.1:7412");
}

}  // namespace
}  // namespace mitosis::test
