// SPDX-License-Identifier: MIT
// capture_shadow: the descriptor says what the process has, in runs, and who holds the rest.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "capture_program.hpp"

namespace mitosis::capture {
namespace {

using descriptor::RunRecord;
using descriptor::VmaKind;
using descriptor::VmaRecord;
using test::Folder;
using test::StoppedProgram;

char* map(std::size_t pages, int flags = 0, int prot = PROT_READ | PROT_WRITE) {
  void* const at = ::mmap(nullptr, pages * page_size, prot,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  ::madvise(at, pages * page_size, MADV_NOHUGEPAGE);
  return static_cast<char*>(at);
}
PageNumber page_at(const char* address) {
  return page_of(reinterpret_cast<std::uint64_t>(address));
}

/// A process's descriptor, kept with its bytes.
class Capture {
 public:
  explicit Capture(const StoppedProgram& program, CaptureRequest request = {}) {
    const auto facts = check_parent(program.pid());
    EXPECT_TRUE(facts.ok()) << describe(facts.error());
    if (!facts) return;
    request.shadow = program.pid();
    auto captured = capture_shadow(request, *facts, test::plausible_facts(program.pid()));
    if (!captured) {
      error_ = captured.error();
      return;
    }
    bytes_ = std::move(captured->descriptor);
    pages_ = captured->pages;
    const auto parsed = DescriptorView::parse(Bytes(bytes_));
    EXPECT_TRUE(parsed.ok()) << describe(parsed.error());
    if (parsed) view_.emplace(*parsed);
  }
  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] const DescriptorView& view() const { return *view_; }
  [[nodiscard]] bool ok() const { return view_.has_value(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_.size(); }
  [[nodiscard]] std::uint64_t pages() const { return pages_; }

  /// The runs that touch a range, cut to it.
  [[nodiscard]] std::vector<RunRecord> runs_in(PageNumber first, std::uint64_t count) const {
    std::vector<RunRecord> found;
    for (RunRecord run : view_->runs()) {
      const PageRange part = intersect({PageNumber{run.page}, run.count}, {first, count});
      if (part.empty()) continue;
      run.source += index(part.first) - run.page;
      run.page = index(part.first);
      run.count = static_cast<std::uint32_t>(part.count);
      found.push_back(run);
    }
    return found;
  }
  [[nodiscard]] std::optional<VmaRecord> vma_at(const char* address) const {
    const auto at = reinterpret_cast<std::uint64_t>(address);
    for (const VmaRecord& vma : view_->vmas()) {
      if (vma.start <= at && at < vma.end) return vma;
    }
    return std::nullopt;
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::optional<DescriptorView> view_;
  std::uint64_t pages_ = 0;
  Error error_;
};

/// Whether the process has a page of its own there (Documentation/admin-guide/mm/pagemap.rst, bit
/// 56). Some kernels give one already for a read, where others map the zero page.
bool has_own_page(pid_t pid, const char* at) {
  const std::string path = "/proc/" + std::to_string(pid) + "/pagemap";
  const UniqueFd pagemap(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::uint64_t entry = 0;
  const auto offset = static_cast<off_t>(index(page_at(at)) * sizeof entry);
  EXPECT_EQ(::pread(pagemap.get(), &entry, sizeof entry, offset), ssize_t{sizeof entry});
  return (entry >> 56 & 1) != 0;
}

TEST(CaptureShadow, TouchedPagesAreRunsAndZeroPagesAreNot) {
  char* const memory = map(16);
  const StoppedProgram program([&] {
    std::memset(memory + 2 * page_size, 1, 3 * page_size);
    (void)*const_cast<volatile char*>(memory + 7 * page_size);  // maps the zero page
    memory[9 * page_size] = 1;
  });
  const Capture capture(program);
  ASSERT_TRUE(capture.ok());
  auto runs = capture.runs_in(page_at(memory), 16);
  if (has_own_page(program.pid(), memory + 7 * page_size)) {
    ASSERT_EQ(runs.size(), 3u);
    EXPECT_EQ(runs[1].page, index(page_at(memory)) + 7);
    runs.erase(runs.begin() + 1);
  }
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].page, index(page_at(memory)) + 2);
  EXPECT_EQ(runs[0].count, 3u);
  EXPECT_EQ(runs[0].source, runs[0].page);
  EXPECT_EQ(runs[0].owner, 0u);
  EXPECT_EQ(runs[1].page, index(page_at(memory)) + 9);
  EXPECT_EQ(capture.vma_at(memory)->kind, static_cast<std::uint32_t>(VmaKind::anonymous));
}

TEST(CaptureShadow, ItsSizeGrowsWithRunsNotPages) {
  constexpr std::size_t pages = (std::size_t{64} << 20) / page_size;
  char* const memory = map(pages);
  char* const reserve = map(std::size_t{1} << 26, 0, PROT_NONE);  // 256 GiB
  const StoppedProgram program([&] { std::memset(memory, 1, pages * page_size); });
  const Capture capture(program);
  ASSERT_TRUE(capture.ok());
  EXPECT_GE(capture.pages(), pages);
  EXPECT_LT(capture.bytes(), std::size_t{48} << 10);
  EXPECT_EQ(capture.vma_at(reserve)->prot, 0u);
  ::munmap(memory, pages * page_size);
  ::munmap(reserve, page_size << 26);
}

TEST(CaptureShadow, ADirtyFileMappingIsCarriedWhole) {
  const Folder folder;
  const std::string path = folder.file("data");
  std::ofstream(path) << std::string(3 * page_size + 100, 'x');
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto map_file = [&] {
    return static_cast<char*>(
        ::mmap(nullptr, 6 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0));
  };
  char* const clean = map_file();
  char* const dirty = map_file();
  const StoppedProgram program([&] {
    (void)*const_cast<volatile char*>(clean);
    dirty[2 * page_size] = 1;
  });
  const Capture capture(program);
  ASSERT_TRUE(capture.ok());
  const auto vma = capture.vma_at(dirty);
  ASSERT_TRUE(vma.has_value());
  EXPECT_EQ(vma->kind, static_cast<std::uint32_t>(VmaKind::private_file));
  EXPECT_EQ(vma->flags & descriptor::vma_dirty, descriptor::vma_dirty);
  EXPECT_EQ(vma->file_size, 3 * page_size + 100);
  EXPECT_EQ(capture.view().string(vma->path), path);
  const auto runs = capture.runs_in(page_at(dirty), 6);
  ASSERT_EQ(runs.size(), 1u);  // up to the file's end, not the mapping's
  EXPECT_EQ(runs[0].page, index(page_at(dirty)));
  EXPECT_EQ(runs[0].count, 4u);
  EXPECT_EQ(capture.vma_at(clean)->flags & descriptor::vma_dirty, 0u);
  EXPECT_TRUE(capture.runs_in(page_at(clean), 6).empty());
  ::munmap(clean, 6 * page_size);
  ::munmap(dirty, 6 * page_size);
}

TEST(CaptureShadow, APrivateFileThatIsGoneIsNamedAsItWas) {
  const Folder folder;
  const std::string path = folder.file("library.so");
  std::ofstream(path) << std::string(2 * page_size, 'x');
  char* mapped = nullptr;
  {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    mapped =
        static_cast<char*>(::mmap(nullptr, 2 * page_size, PROT_READ, MAP_PRIVATE, file.get(), 0));
  }
  std::filesystem::remove(path);
  const StoppedProgram program([] {});
  const Capture capture(program);
  ASSERT_TRUE(capture.ok());
  const auto vma = capture.vma_at(mapped);
  ASSERT_TRUE(vma.has_value());
  EXPECT_EQ(vma->kind, static_cast<std::uint32_t>(VmaKind::private_file));
  EXPECT_EQ(capture.view().string(vma->path), path + " (deleted)");  // not to be found anywhere
  EXPECT_EQ(vma->file_size, 2 * page_size);
  ::munmap(mapped, 2 * page_size);
}

TEST(CaptureShadow, AncestorsKeepWhatTheChildHasNotFetched) {
  char* const memory = map(16);
  const StoppedProgram program([&] { std::memset(memory + 4 * page_size, 1, 2 * page_size); });
  const PageNumber first = page_at(memory);
  // As the pager would have it: pages 2 to 9 are remote, of which 4 and 5 have been written since.
  const RemoteRun remote[] = {{{first + 2, 5}, PageNumber{1002}, 1},
                              {{first + 7, 3}, PageNumber{2000}, 2}};
  descriptor::OwnerRecord parent = {};
  parent.machine = 1;
  descriptor::OwnerRecord grandparent = {};
  grandparent.machine = 2;
  const descriptor::OwnerRecord owners[] = {parent, grandparent};
  CaptureRequest request;
  request.self.machine = 3;
  request.ancestry = {owners, remote};
  const Capture capture(program, request);
  ASSERT_TRUE(capture.ok());
  ASSERT_EQ(capture.view().owners().size(), 3u);
  EXPECT_EQ(capture.view().owners()[0].machine, 3u);
  EXPECT_EQ(capture.view().owners()[2].machine, 2u);
  const auto runs = capture.runs_in(first, 16);
  ASSERT_EQ(runs.size(), 4u);
  const auto expect = [&](const RunRecord& run, unsigned page, std::uint64_t source, unsigned count,
                          unsigned owner) {
    EXPECT_EQ(run.page, index(first) + page);
    EXPECT_EQ(run.source, source);
    EXPECT_EQ(run.count, count);
    EXPECT_EQ(run.owner, owner);
  };
  expect(runs[0], 2, 1002, 2, 1);
  expect(runs[1], 4, index(first) + 4, 2, 0);
  expect(runs[2], 6, 1006, 1, 1);
  expect(runs[3], 7, 2000, 3, 2);
}

TEST(CaptureShadow, MemoryThatAForkLeavesOutIsRefused) {
  char* const memory = map(4);
  const StoppedProgram parent([] {});
  const StoppedProgram shadow([&] { ::munmap(memory + page_size, page_size); });
  const auto facts = check_parent(parent.pid());
  ASSERT_TRUE(facts.ok());
  CaptureRequest request;
  request.shadow = shadow.pid();
  const auto captured = capture_shadow(request, *facts, test::plausible_facts(shadow.pid()));
  ASSERT_FALSE(captured.ok());
  EXPECT_EQ(captured.code(), Errc::unsupported_process);
  EXPECT_NE(std::string(captured.error().subject.c_str()).find("MADV_DONTFORK"), std::string::npos);
}

TEST(CaptureShadow, AShadowOfAnotherVersionIsRefused) {
  const StoppedProgram program([] {});
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok());
  CaptureRequest request;
  request.shadow = program.pid();
  local::ShadowFacts seen = test::plausible_facts(program.pid());
  seen.version += 1;
  EXPECT_EQ(capture_shadow(request, *facts, seen).code(), Errc::protocol_mismatch);
  seen = test::plausible_facts(program.pid());
  seen.thread.xstate_bytes = sizeof(seen.xstate) + 1;
  EXPECT_EQ(capture_shadow(request, *facts, seen).code(), Errc::protocol_mismatch);
}

TEST(Pagemap, OlderKernelsGiveTheSameRuns) {
  char* const memory = map(64);
  const StoppedProgram program([&] {
    for (const unsigned page : {0u, 1u, 5u, 6u, 7u, 40u, 63u}) memory[page * page_size] = 1;
  });
  const auto process = open_process(program.pid());
  ASSERT_TRUE(process.ok());
  std::vector<PresentRun> found[2];
  for (const PagemapMethod method : {PagemapMethod::automatic, PagemapMethod::entries}) {
    auto pagemap = Pagemap::open(process->get(), method);
    ASSERT_TRUE(pagemap.ok());
    const auto start = reinterpret_cast<std::uint64_t>(memory);
    ASSERT_TRUE(
        pagemap
            ->scan(start, start + 64 * page_size, found[method == PagemapMethod::entries ? 1 : 0])
            .ok());
  }
  const std::pair<unsigned, unsigned> expected[] = {{0, 2}, {5, 3}, {40, 1}, {63, 1}};
  for (const auto& runs : found) {
    ASSERT_EQ(runs.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(index(runs[i].pages.first), index(page_at(memory)) + expected[i].first);
      EXPECT_EQ(runs[i].pages.count, expected[i].second);
      EXPECT_FALSE(runs[i].file);
    }
  }
}

TEST(Pagemap, ManyRunsTakeSeveralRounds) {
  constexpr std::size_t pages = 5000;
  char* const memory = map(pages);
  const StoppedProgram program([&] {
    for (std::size_t page = 0; page < pages; page += 2) memory[page * page_size] = 1;
  });
  const Capture capture(program);
  ASSERT_TRUE(capture.ok());
  EXPECT_EQ(capture.runs_in(page_at(memory), pages).size(), pages / 2);
}

}  // namespace
}  // namespace mitosis::capture
