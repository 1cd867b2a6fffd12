// SPDX-License-Identifier: MIT
// check_parent: the memory that a program shares.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include <mitosis/base/describe.hpp>

#include <string>
#include <utility>
#include <vector>

#include "capture_program.hpp"

namespace mitosis::capture {
namespace {

using descriptor::FileKind;
using test::refusal;
using test::StoppedProgram;

/// Three pages of an object of six, shown twice.
void share(char*& at, bool keep_open = false) {
  const int fd = ::memfd_create("object", MFD_CLOEXEC);
  (void)!::ftruncate(fd, 6 * page_size - 10);
  at =
      static_cast<char*>(::mmap(nullptr, 6 * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  (void)::mmap(nullptr, page_size, PROT_READ, MAP_SHARED, fd, 2 * page_size);
  at[0] = 'a';
  at[page_size] = 'b';
  at[5 * page_size] = 'c';
  if (!keep_open) (void)::close(fd);
}

TEST(CheckParent, CopiesMemoryThatIsShared) {
  const StoppedProgram program([] {
    char* at = nullptr;
    share(at);
    (void)::mmap(nullptr, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);  // never touched
  });
  auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  ASSERT_EQ(facts->shared.objects().size(), 2u);
  DescriptorBuilder b(arch::this_arch, HandlerId{1}, Generation{1});
  facts->shared.describe(b);
  std::uint64_t pages = 0;
  for (const auto& run : b.shared_runs) pages += run.count;
  EXPECT_EQ(pages, 3u);
  const UniqueFd image = facts->shared.take_image();
  char text[3] = {};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(::pread(image.get(), text + i, 1, i * static_cast<off_t>(page_size)), 1);
  }
  EXPECT_EQ(std::string(text, 3), "abc");
  EXPECT_EQ(check_parent(program.pid(), {}, {.shared_budget = 2 * page_size}).code(),
            Errc::budget_exceeded);
}

TEST(CheckParent, SharedMemoryThatIsOpenTooIsOneObject) {
  const StoppedProgram program([] {
    char* at = nullptr;
    share(at, true);
    (void)::memfd_create("another", 0);
  });
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  std::vector<std::pair<int, int>> shared;
  for (const OpenFile& file : facts->files) {
    if (file.kind != FileKind::memory) continue;
    const auto memory = files::decode<files::Memory>(Bytes(file.data));
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ(memory->content.size, 0u) << "its content comes with the shared memory";
    shared.emplace_back(file.fd, memory->shared);
  }
  EXPECT_EQ(shared, (std::vector<std::pair<int, int>>{{3, 0}, {4, -1}}));
}

TEST(CheckParent, RefusesSharedMemoryThatIsOpenByItsPathAlone) {
  EXPECT_NE(refusal([] {
              char* at = nullptr;
              share(at, true);
              (void)::open("/proc/self/fd/3", O_PATH);
            }).find("O_PATH"),
            std::string::npos);
}

TEST(CheckParent, TakesASegmentForNoFileWithTheNumberOfItsId) {
  const StoppedProgram program([] {
    const int id = ::shmget(IPC_PRIVATE, 4096, 0600);
    (void)::shmat(id, nullptr, 0);
    (void)::shmctl(id, IPC_RMID, nullptr);
  });
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  ASSERT_EQ(facts->shared.objects().size(), 1u);
  Mapping same;
  same.shared = true;
  same.device = facts->shared.objects()[0].device;
  same.inode = facts->shared.objects()[0].inode;
  same.path = "/SYSV00000000 (deleted)";
  EXPECT_TRUE(facts->shared.find(same));
  same.path = "/memfd:other (deleted)";
  EXPECT_FALSE(facts->shared.find(same));
}

}  // namespace
}  // namespace mitosis::capture
