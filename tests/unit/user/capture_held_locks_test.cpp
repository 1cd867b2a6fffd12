// SPDX-License-Identifier: MIT
// HeldLocks: glibc's own mutexes, as they lie in this process's memory. World: user.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mitosis/fork/user/capture/held_locks.hpp>

#include <cstring>
#include <thread>
#include <vector>

namespace mitosis::capture {
namespace {

/// This process's memory.
class OwnMemory final : public PageSource {
 public:
  Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    std::memcpy(into.data(), reinterpret_cast<const void*>(address), into.size());
    return Errc::ok;
  }
};

class HeldLocksTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t pages = 200;  // several reads
  HeldLocksTest() {
    memory_ = static_cast<std::uint8_t*>(::mmap(
        nullptr, pages << page_shift, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mapping_.start = reinterpret_cast<std::uint64_t>(memory_);
    mapping_.end = mapping_.start + (pages << page_shift);
    mapping_.prot = PROT_READ | PROT_WRITE;
  }
  ~HeldLocksTest() override { ::munmap(memory_, pages << page_shift); }

  pthread_mutex_t& mutex(std::size_t at, int kind) {
    auto* const made = reinterpret_cast<pthread_mutex_t*>(memory_ + at);
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_settype(&attributes, kind);
    ::pthread_mutex_init(made, &attributes);
    return *made;
  }
  std::vector<descriptor::HeldLockRecord> found(const std::vector<std::uint32_t>& threads) {
    OwnMemory source;
    HeldLocks locks(source, threads);
    locks.look(mapping_, {{{page_of(mapping_.start), pages}, false}});
    return locks.take();
  }
  [[nodiscard]] std::uint64_t offset(const descriptor::HeldLockRecord& lock) const {
    return lock.address - mapping_.start;
  }

  std::uint8_t* memory_;
  Mapping mapping_;
  const std::uint32_t self_ = static_cast<std::uint32_t>(::gettid());
};

TEST_F(HeldLocksTest, FindsWhatAThreadHoldsWhereverItLies) {
  constexpr std::size_t read_at_once = std::size_t{64} << page_shift;
  const std::vector<std::size_t> places = {0,
                                           4088,
                                           read_at_once - 16,
                                           2 * read_at_once - 8,
                                           3 * read_at_once - 24,
                                           (pages << page_shift) - 40};
  for (const std::size_t at : places) {
    ASSERT_EQ(::pthread_mutex_lock(&mutex(at, PTHREAD_MUTEX_RECURSIVE)), 0);
  }
  const auto locks = found({1u, self_});
  ASSERT_EQ(locks.size(), places.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    EXPECT_EQ(offset(locks[i]), places[i] + 8);
    EXPECT_EQ(locks[i].thread, 1u);
  }
}

TEST_F(HeldLocksTest, OfEachKindThatKnowsItsOwner) {
  ASSERT_EQ(::pthread_mutex_lock(&mutex(0, PTHREAD_MUTEX_ERRORCHECK)), 0);
  pthread_mutex_t& twice = mutex(80, PTHREAD_MUTEX_RECURSIVE);
  ASSERT_EQ(::pthread_mutex_lock(&twice) + ::pthread_mutex_lock(&twice), 0);
  ASSERT_EQ(::pthread_mutex_lock(&mutex(160, PTHREAD_MUTEX_NORMAL)), 0);  // does not ask
  pthread_mutex_t& free_again = mutex(240, PTHREAD_MUTEX_RECURSIVE);
  ASSERT_EQ(::pthread_mutex_lock(&free_again) + ::pthread_mutex_unlock(&free_again), 0);
  const auto locks = found({self_, 1u});
  ASSERT_EQ(locks.size(), 2u);
  EXPECT_EQ(offset(locks[0]), 8u);
  EXPECT_EQ(offset(locks[1]), 88u);
}

TEST_F(HeldLocksTest, OneThatOthersWaitForToo) {
  pthread_mutex_t& wanted = mutex(0, PTHREAD_MUTEX_RECURSIVE);
  ASSERT_EQ(::pthread_mutex_lock(&wanted), 0);
  std::thread other([&] { ::pthread_mutex_lock(&wanted), ::pthread_mutex_unlock(&wanted); });
  while (__atomic_load_n(&wanted.__data.__lock, __ATOMIC_ACQUIRE) != 2) std::this_thread::yield();
  EXPECT_EQ(found({self_, 1u}).size(), 1u);
  ::pthread_mutex_unlock(&wanted);
  other.join();
}

TEST_F(HeldLocksTest, NothingOfOtherThreadsNorInOtherMemory) {
  ASSERT_EQ(::pthread_mutex_lock(&mutex(0, PTHREAD_MUTEX_RECURSIVE)), 0);
  EXPECT_TRUE(found({self_ + 1, 1u}).empty());
  mapping_.prot = PROT_READ;
  EXPECT_TRUE(found({self_}).empty());
  mapping_.prot = PROT_READ | PROT_WRITE;
  mapping_.shared = true;
  EXPECT_TRUE(found({self_}).empty());
}

}  // namespace
}  // namespace mitosis::capture
