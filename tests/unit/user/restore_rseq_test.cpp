// SPDX-License-Identifier: MIT
// OwnRseq: the launcher's restartable-sequences area comes and goes. World: user.
#include <gtest/gtest.h>

#include <mitosis/fork/user/restore/rseq.hpp>

namespace mitosis::restore {
namespace {

#if __has_include(<sys/rseq.h>)

/// The kernel's word in the area: the CPU's number, negative while the area is not registered.
int cpu_in_area() {
  const auto area = arch::thread_pointer() + static_cast<std::uint64_t>(__rseq_offset);
  return static_cast<int>(reinterpret_cast<const volatile struct rseq*>(area)->cpu_id);
}

TEST(RestoreRseq, AFailedLaunchRegistersItAgain) {
  if (__rseq_size == 0) GTEST_SKIP() << "the C library has registered none";
  ASSERT_GE(cpu_in_area(), 0);
  {
    OwnRseq rseq;
    ASSERT_TRUE(rseq.unregister().ok());
    EXPECT_LT(cpu_in_area(), 0);
  }
  EXPECT_GE(cpu_in_area(), 0);
}

#endif

}  // namespace
}  // namespace mitosis::restore
