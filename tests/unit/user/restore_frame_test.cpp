// SPDX-License-Identifier: MIT
// The signal frame's part with the vector registers: as long as what is in use, no longer, for
// rt_sigreturn takes no more than the task may use. World: user, x86-64 only.
#include <gtest/gtest.h>

#include <mitosis/fork/user/arch/x86_64/restore_frame.hpp>

#include <cstring>
#include <vector>

namespace mitosis::arch {
namespace {

constexpr std::uint64_t sse = 3, avx = 4;

/// The area that PTRACE_GETREGSET gives, with these components in use, each byte of it 0x5a.
std::vector<std::uint8_t> area_with(std::uint64_t components) {
  std::vector<std::uint8_t> area(xstate_size(), 0x5a);
  std::memset(area.data() + 512, 0, 64);
  std::memcpy(area.data() + 512, &components, sizeof components);
  return area;
}

struct Written {
  detail::SoftwareWords words;
  std::vector<std::uint8_t> frame;
};
Written written(const std::vector<std::uint8_t>& area) {
  Written w;
  w.frame.resize(frame_bytes(area));
  write_frame({}, area, xfeatures(), w.frame.data());
  std::memcpy(&w.words, w.frame.data() + detail::frame_room + detail::software_at, sizeof w.words);
  return w;
}

TEST(RestoreFrame, EndsWithTheLastComponentInUse) {
  for (const unsigned component : {5u, 6u, 7u, 9u}) {  // AVX-512's three, protection keys
    if ((xfeatures() >> component & 1) == 0) continue;
    const std::uint64_t in_use = sse | avx | std::uint64_t{1} << component;
    const Written w = written(area_with(in_use));
    EXPECT_EQ(w.words.xstate_size, xstate_end(component));
    EXPECT_EQ(w.words.xfeatures & in_use, in_use);
    EXPECT_EQ(w.words.xfeatures >> (component + 1), 0u) << component;
    EXPECT_EQ(w.frame.size(), detail::frame_room + w.words.xstate_size + 4);
  }
}

TEST(RestoreFrame, NeverHasMoreThanATaskMayUseUnasked) {
  // AMX's tiles are there from Linux 5.16 on, 8 KiB for whoever asks (arch_prctl(2)).
  constexpr std::uint64_t tiles = 3u << 17;
  const Written w = written(area_with(xfeatures() & ~tiles));
  EXPECT_LE(w.words.xstate_size, 2696u);
}

TEST(RestoreFrame, IsShortWhereNothingButSseOrAvxIsInUse) {
  EXPECT_EQ(written(area_with(sse)).words.xstate_size, minimal_xstate_bytes);
  if ((xfeatures() & avx) == 0) GTEST_SKIP() << "this processor has no AVX";
  const Written w = written(area_with(sse | avx));
  EXPECT_EQ(w.words.xstate_size, xstate_end(2));
  EXPECT_EQ(w.words.xfeatures, sse | avx);
}

}  // namespace
}  // namespace mitosis::arch
