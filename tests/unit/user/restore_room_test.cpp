// SPDX-License-Identifier: MIT
// Finding room in an address space. World: user.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <mitosis/fork/user/restore/occupied.hpp>

namespace mitosis::restore {
namespace {

constexpr std::string_view maps =
    "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
    "00452000-00453000 rw-p 00052000 08:02 173521      /usr/bin/dbus-daemon\n"
    "00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
    "7fff1b1f8000-7fff1b1fc000 r--p 00000000 00:00 0                          [vvar]\n"
    "7fff1b1fc000-7fff1b1fe000 r--p 00000000 00:00 0                          [vvar_vclock]\n"
    "7fff1b1fe000-7fff1b200000 r-xp 00000000 00:00 0                          [vdso]\n";

TEST(RestoreRoom, ReadsTheTextOfMaps) {
  const AddressSpace space = parse_maps(maps);
  ASSERT_EQ(space.mapped.size(), 3u);
  EXPECT_EQ(space.mapped[0], (Range{0x400000, 0x453000}));
  EXPECT_EQ(space.vvar, (Range{0x7fff1b1f8000, 0x7fff1b1fc000}));
  EXPECT_EQ(space.vvar_vclock, (Range{0x7fff1b1fc000, 0x7fff1b1fe000}));
  EXPECT_EQ(space.vdso, (Range{0x7fff1b1fe000, 0x7fff1b200000}));
}

TEST(RestoreRoom, SeesItsOwnProcess) {
  int on_stack = 0;
  const auto space = read_address_space();
  ASSERT_TRUE(space.ok());
  EXPECT_FALSE(space->vdso.empty());
  const auto at = reinterpret_cast<std::uint64_t>(&on_stack);
  bool found = false;
  for (const Range& r : space->mapped) found |= r.start <= at && at < r.end;
  EXPECT_TRUE(found);
}

TEST(RestoreRoom, IsFreeInBothLauncherAndChild) {
  const std::vector<Range> launcher = {{0x400000, 0x500000}};
  std::vector<Mapping> child(2);
  child[0].start = 0x10000;
  child[0].end = 0x20000;
  child[1].start = 0x3f0000;  // overlaps the launcher's
  child[1].end = 0x410000;
  Occupied occupied(launcher, child);
  EXPECT_EQ(occupied.find(0x1000, lowest_hole, 0x1000000), (Range{0x20000, 0x21000}));
  occupied.add({0x20000, 0x21000});
  EXPECT_EQ(occupied.find(0x1000, lowest_hole, 0x1000000), (Range{0x21000, 0x22000}));
  EXPECT_EQ(occupied.find(0x3d0000, lowest_hole, 0x1000000), (Range{0x500000, 0x8d0000}));
  EXPECT_TRUE(occupied.find(0x3d0000, lowest_hole, 0x800000).empty());
}

}  // namespace
}  // namespace mitosis::restore
