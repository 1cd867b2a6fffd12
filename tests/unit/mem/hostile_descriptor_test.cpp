// SPDX-License-Identifier: MIT
// A truncated, broken or hostile descriptor gets an error that names the field. World: user.
#include "sample_descriptor.hpp"

#include <gtest/gtest.h>

#include <mitosis/mem/descriptor/view.hpp>

#include <functional>
#include <memory>
#include <string>

namespace mitosis {
namespace {

using namespace descriptor;  // NOLINT
using test::sample_builder;

/// What parse says about exactly these bytes: on the heap, so that a sanitizer sees one too many.
std::string verdict(const std::vector<std::uint8_t>& bytes) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  const auto view = DescriptorView::parse(Bytes(exact.get(), bytes.size()));
  if (view.ok()) return "ok";
  EXPECT_EQ(view.code(), Errc::bad_descriptor);
  return view.error().subject.c_str();
}

std::string after(const std::function<void(DescriptorBuilder&)>& harm) {
  auto b = sample_builder();
  harm(b);
  return verdict(b.finish());
}

TEST(HostileDescriptor, TruncatedAtEveryByte) {
  const auto whole = test::sample_descriptor();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    ASSERT_NE(verdict(cut), "ok") << n;
    // The same with a header that admits it, so that the sections' bounds are what refuses.
    if (n < sizeof(Header)) continue;
    std::memcpy(cut.data() + offsetof(Header, total_bytes), &n, sizeof n);
    ASSERT_NE(verdict(cut), "ok") << n;
  }
}

template <class T>
void poke(std::vector<std::uint8_t>& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}
std::string poked(const std::function<void(std::vector<std::uint8_t>&)>& harm) {
  auto bytes = test::sample_descriptor();
  harm(bytes);
  return verdict(bytes);
}
constexpr std::size_t entry(std::size_t i) {
  return sizeof(Header) + i * sizeof(SectionRecord);
}

TEST(HostileDescriptor, Header) {
  using V = std::vector<std::uint8_t>;
  EXPECT_EQ(poked([](V& b) { b[0] ^= 1; }), "header.magic: not a descriptor");
  EXPECT_EQ(poked([](V& b) { b[8] = 2; }), "header.version: not version 1");
  EXPECT_EQ(poked([](V& b) { b[12] = 16; }), "header.page_shift: not 4 KiB pages");
  EXPECT_EQ(poked([](V& b) { b[13] = 1; }), "header.reserved0: not zero");
  EXPECT_EQ(poked([](V& b) { poke(b, 16, ~0ull); }), "header.total_bytes: over 64 MiB");
  EXPECT_EQ(poked([](V& b) { b.push_back(0); }),
            "header.total_bytes: not the number of bytes given");
  EXPECT_EQ(poked([](V& b) { poke(b, 40, ~0u); }), "header.section_count: over 64");
  EXPECT_EQ(poked([](V& b) {
              b.resize(60);
              poke(b, 16, std::uint64_t{60});
            }),
            "header.section_count: the table is cut short");
}

TEST(HostileDescriptor, AnotherArchitectureIsTheCallersToJudge) {
  auto bytes = test::sample_descriptor();
  poke(bytes, offsetof(Header, arch), std::uint16_t{99});
  const auto view = DescriptorView::parse(bytes);
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->arch(), Arch{99});
}

TEST(HostileDescriptor, SectionTable) {
  using V = std::vector<std::uint8_t>;
  const auto offset = [](std::size_t i) { return entry(i) + offsetof(SectionRecord, offset); };
  const auto length = [](std::size_t i) { return entry(i) + offsetof(SectionRecord, bytes); };
  EXPECT_EQ(poked([&](V& b) { poke(b, offset(1), 1001ull); }),
            "sections[1].offset: not 8-byte aligned");
  EXPECT_EQ(poked([&](V& b) { poke(b, offset(1), 0ull); }),
            "sections[1].offset: inside header or table");
  EXPECT_EQ(poked([&](V& b) { poke(b, offset(1), ~0ull << 3); }),
            "sections[1].offset: past the end");
  EXPECT_EQ(poked([&](V& b) { poke(b, length(1), ~0ull); }), "sections[1].bytes: past the end");
  EXPECT_EQ(poked([&](V& b) { std::memcpy(&b[offset(2)], &b[offset(1)], 8); }),
            "sections[2].offset: overlaps another section");
  EXPECT_EQ(poked([&](V& b) { std::memcpy(&b[entry(2)], &b[entry(1)], 4); }),
            "sections[2].tag: a tag that was there before");
  EXPECT_EQ(poked([&](V& b) { poke(b, entry(0) + 4, 3u); }), "sections[0].flags: unknown flag");
}

TEST(HostileDescriptor, UnknownSectionIsSkippedUnlessItIsRequired) {
  const std::uint8_t something[3] = {1, 2, 3};
  EXPECT_EQ(after([&](auto& b) { b.add_section(4711, false, something); }), "ok");
  EXPECT_EQ(after([&](auto& b) { b.add_section(4711, true, something); }),
            "required section with unknown tag 4711; the sender runs a newer mitosis");
}

TEST(HostileDescriptor, MissingRequiredSection) {
  const auto without = [](Tag tag) {
    return poked([tag](std::vector<std::uint8_t>& b) {
      for (std::size_t i = 0;; ++i) {
        std::uint32_t here = 0;
        std::memcpy(&here, &b[entry(i)], sizeof here);
        if (here != static_cast<std::uint32_t>(tag)) continue;
        poke(b, entry(i), 4711u);   // unknown and
        poke(b, entry(i) + 4, 0u);  // optional
        return;
      }
    });
  };
  for (const Tag tag :
       {Tag::mm, Tag::vmas, Tag::owners, Tag::threads, Tag::strings, Tag::machine}) {
    EXPECT_EQ(without(tag), std::string(name(tag)) + ": the section is missing");
  }
}

TEST(HostileDescriptor, Mm) {
  EXPECT_EQ(after([](auto& b) { b.mm.brk = ~0ull; }), "mm.brk: not a user address");
  EXPECT_EQ(after([](auto& b) { b.mm.arg_start = 8; }), "mm.arg_end: before its start");
  EXPECT_EQ(after([](auto& b) { b.mm.exe = 100000; }), "mm.exe: no such string");
  EXPECT_EQ(after([](auto& b) { b.mm.cwd = no_string - 1; }), "mm.cwd: no such string");
  EXPECT_EQ(after([](auto& b) { b.mm.umask = 01000; }), "mm.umask: over 0777");
}

TEST(HostileDescriptor, Vmas) {
  EXPECT_EQ(after([](auto& b) { b.vmas[1].start += 8; }), "vmas[1].start: not page-aligned");
  EXPECT_EQ(after([](auto& b) { b.vmas[3].end += 8; }), "vmas[3].end: not page-aligned");
  EXPECT_EQ(after([](auto& b) { b.vmas[3].end = b.vmas[3].start; }),
            "vmas[3].end: not after start");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].end += page_size; }),
            "vmas[2].start: before the end of the previous one");
  EXPECT_EQ(after([](auto& b) { b.vmas[5].end = user_address_end + page_size; }),
            "vmas[5].end: not a user address");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].kind = 0; }), "vmas[1].kind: unknown");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].kind = 99; }), "vmas[1].kind: unknown");
  EXPECT_EQ(after([](auto& b) { b.vmas[4].kind = 5; }), "vmas[5].kind: a second one of its kind");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].prot = 8; }),
            "vmas[1].prot: more than read, write, execute");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].flags = 1u << 31; }), "vmas[1].flags: unknown flag");
  EXPECT_EQ(after([](auto& b) { b.vmas[1].path = 100000; }), "vmas[1].path: no such string");
  EXPECT_EQ(after([](auto& b) { b.vmas[0].path = no_string; }), "vmas[0].path: missing for a file");
  EXPECT_EQ(after([](auto& b) { b.vmas[0].file_offset = 1; }),
            "vmas[0].file_offset: not page-aligned");
  EXPECT_EQ(after([](auto& b) { b.vmas[0].file_offset = ~0ull << 12; }),
            "vmas[0].file_offset: past the largest file");
}

TEST(HostileDescriptor, Runs) {
  EXPECT_EQ(after([](auto& b) { b.runs[1].count = 0; }), "runs[1].count: zero");
  EXPECT_EQ(after([](auto& b) { b.runs[1].page = ~0ull; }), "runs[1].page: not user addresses");
  EXPECT_EQ(after([](auto& b) { b.runs[1].source = ~0ull - 1; }),
            "runs[1].source: not user addresses");
  EXPECT_EQ(after([](auto& b) { b.runs[1].page -= 1; }),
            "runs[1].page: before the end of the previous one");
  EXPECT_EQ(after([](auto& b) { b.runs[1].kind = 2; }), "runs[1].kind: unknown");
  EXPECT_EQ(after([](auto& b) { b.runs[1].owner = 2; }), "runs[1].owner: no such owner");
  EXPECT_EQ(after([](auto& b) { b.runs[1].count = 5; }), "runs[1].count: reaches out of its vma");
  EXPECT_EQ(after([](auto& b) { b.runs[2].page += 2; }), "runs[2].page: in no vma");
  EXPECT_EQ(after([](auto& b) { b.runs[0].page = 0; }), "runs[0].page: in no vma");
  EXPECT_EQ(after([](auto& b) { b.runs[2].page = index(page_of(test::library_at)); }),
            "runs[2].page: in a vma whose pages are not carried");
}

TEST(HostileDescriptor, Owners) {
  EXPECT_EQ(after([](auto& b) { std::memset(b.owners[1].address, 'x', 64); }),
            "owners[1].address: not zero-terminated");
  EXPECT_EQ(after([](auto& b) { b.owners[1].machine = ~0u; }),
            "owners[1].machine: no machine's id");
  EXPECT_EQ(after([](auto& b) { b.owners.clear(); }), "owners: the section is missing");
}

TEST(HostileDescriptor, ThreadsAndSignals) {
  EXPECT_EQ(after([](auto& b) { b.threads[0].xstate_offset = 833; }),
            "threads[0].xstate_offset: past the xstate section");
  EXPECT_EQ(after([](auto& b) { b.threads[0].xstate_bytes = 833; }),
            "threads[0].xstate_bytes: past the xstate section");
  EXPECT_EQ(after([](auto& b) { b.threads[0].xstate_bytes = ~0u; }),
            "threads[0].xstate_bytes: over 64 KiB");
  EXPECT_EQ(after([](auto& b) { std::memset(b.threads[1].name, 'x', 16); }),
            "threads[1].name: not zero-terminated");
  EXPECT_EQ(after([](auto& b) { b.threads.clear(); }), "threads: the section is missing");
  EXPECT_EQ(after([](auto& b) { b.sigactions.pop_back(); }), "sigactions: not 64 records");
}

TEST(HostileDescriptor, Files) {
  EXPECT_EQ(after([](auto& b) { b.files[0].fd = -1; }), "files[0].fd: not from 0 to 1048576");
  EXPECT_EQ(after([](auto& b) { b.files[3].fd = (1 << 20) + 1; }),
            "files[3].fd: not from 0 to 1048576");
  EXPECT_EQ(after([](auto& b) { b.files[3].fd = 3; }), "files[3].fd: not above the previous one");
  EXPECT_EQ(after([](auto& b) { b.files[1].kind = 77; }), "files[1].kind: unknown");
  EXPECT_EQ(after([](auto& b) { b.files[2].kind = 4; }),
            "files[2].kind: a standard stream above 2");
  EXPECT_EQ(after([](auto& b) { b.files[2].path = no_string; }), "files[2].path: missing");
  EXPECT_EQ(after([](auto& b) { b.files[2].path = 100000; }), "files[2].path: no such string");
  EXPECT_EQ(after([](auto& b) { b.files[2].offset = ~0ull; }),
            "files[2].offset: past the largest file");
  for (const std::uint32_t data : {2u, 11u, 14u, ~0u}) {
    EXPECT_EQ(after([=](auto& b) { b.files[4].data = data; }),
              "files[4].data: past the file_data section");
  }
  for (const int later : {9, 10, 2, -2}) {
    EXPECT_EQ(after([=](auto& b) { b.files[3].same_as = later; }),
              "files[3].same_as: no earlier descriptor");
  }
}

TEST(HostileDescriptor, TheRest) {
  EXPECT_EQ(after([](auto& b) { b.machine.xstate_size = ~0ull; }),
            "machine.xstate_size: over 64 KiB");
  EXPECT_EQ(after([](auto& b) { b.machine.kernel_release = 100000; }),
            "machine.kernel_release: no such string");
  EXPECT_EQ(after([](auto& b) { b.limits[1].hard = 0; }), "limits[1].soft: above the hard limit");
  EXPECT_EQ(after([](auto& b) { b.limits.resize(65); }), "limits: over 64");
  EXPECT_EQ(after([](auto& b) { b.auxv.push_back(0); }), "auxv: not whole entries");
  EXPECT_EQ(after([](auto& b) { b.vdso.resize(65'537); }), "vdso: over 64 KiB");
  EXPECT_EQ(poked([](std::vector<std::uint8_t>& b) { b.back() = 'x'; }),
            "strings: not zero-terminated");
}

TEST(HostileDescriptor, SharedMemory) {
  EXPECT_EQ(after([](auto& b) { b.vmas[6].file_inode = 1; }), "vmas[6].file_inode: no such object");
  EXPECT_EQ(after([](auto& b) { b.vmas[6].file_offset = 8; }),
            "vmas[6].file_offset: not page-aligned");
  EXPECT_EQ(after([](auto& b) { b.shared_objects[0].bytes = ~0ull; }),
            "shared_objects[0].bytes: past the largest file");
  EXPECT_EQ(after([](auto& b) { b.shared_objects.resize(49); }), "shared_objects: over 48");
  EXPECT_EQ(after([](auto& b) { b.shared_runs[0].object = 1; }),
            "shared_runs[0].object: no such object");
  EXPECT_EQ(after([](auto& b) { b.shared_runs[0].count = 0; }), "shared_runs[0].count: zero");
  EXPECT_EQ(after([](auto& b) { b.shared_runs[1].page = 1; }),
            "shared_runs[1].page: before the end of the previous one");
  EXPECT_EQ(after([](auto& b) { b.shared_runs[1].count = 2; }),
            "shared_runs[1].page: past the object's end");
  EXPECT_EQ(after([](auto& b) { b.shared_runs[1].source = 5; }),
            "shared_runs[1].source: no place of shared pages");
}

TEST(HostileDescriptor, ATree) {
  EXPECT_EQ(after([](auto& b) { b.tree.resize(49, b.tree[1]); }), "tree: over 48");
  EXPECT_EQ(after([](auto& b) { b.tree[0].parent = 1; }), "tree[0].parent: not before it");
  EXPECT_EQ(after([](auto& b) { b.tree[1].parent = 1; }), "tree[1].parent: not before it");
  EXPECT_EQ(after([](auto& b) {
              b.tree[1].flags = descriptor::member_zombie;
              b.tree[2].parent = 1;
            }),
            "tree[2].parent: has ended");
  EXPECT_EQ(after([](auto& b) { b.tree[0].flags = descriptor::member_zombie; }),
            "tree[0].parent: has ended");
  EXPECT_EQ(after([](auto& b) { b.tree[1].pid = 0; }), "tree[1].pid: no process number");
  EXPECT_EQ(after([](auto& b) { b.tree[1].pid = 1u << 31; }), "tree[1].pid: no process number");
  EXPECT_EQ(after([](auto& b) { b.tree[2].pid = b.tree[0].pid; }), "tree[2].pid: another member's");
  EXPECT_EQ(after([](auto& b) { b.tree[1].group = 3; }), "tree[1].group: no such member");
  EXPECT_EQ(after([](auto& b) { b.tree[1].session = 3; }), "tree[1].session: no such member");
  EXPECT_EQ(after([](auto& b) { b.tree[1].exit_signal = 65; }), "tree[1].exit_signal: over 64");
  EXPECT_EQ(after([](auto& b) { b.tree[1].flags = 4; }), "tree[1].flags: unknown");
  EXPECT_EQ(after([](auto& b) { b.tree[2].first_file = 10; }),
            "tree[2].first_file: before the previous one's");
  EXPECT_EQ(after([](auto& b) { b.tree[2].first_file = ~0u; }), "tree[2].first_file: over 1048577");
}

TEST(HostileDescriptor, SeccompFilters) {
  EXPECT_EQ(after([](auto& b) { b.filters[1].thread = 2; }), "filters[1].thread: no such thread");
  EXPECT_EQ(after([](auto& b) { b.filters[0].thread = 1, b.filters[1].thread = 0; }),
            "filters[1].thread: before the previous one's");
  EXPECT_EQ(after([](auto& b) { b.filters[0].flags = 8; }), "filters[0].flags: unknown flag");
  EXPECT_EQ(after([](auto& b) { b.filters[0].count = 0; }), "filters[0].count: not 1 to 4096");
  EXPECT_EQ(after([](auto& b) { b.filters[1].first = 0xffffffff; }),
            "filters[1].count: past the filter_code section");
  EXPECT_EQ(after([](auto& b) { b.held_locks[1].thread = 2; }),
            "held_locks[1].thread: no such thread");
  EXPECT_EQ(after([](auto& b) { b.held_locks[1].address = 0x1008; }),
            "held_locks[1].address: not above the previous one's");
  EXPECT_EQ(after([](auto& b) { b.held_locks[0].address = 2; }),
            "held_locks[0].address: not aligned");
}

TEST(HostileDescriptor, Attributes) {
  EXPECT_EQ(after([](auto& b) { b.process.push_back({}); }), "process: not one record");
  EXPECT_EQ(after([](auto& b) { b.process[0].timers[2].interval_us = ~0ull; }),
            "process.timers: over 292 years");
  EXPECT_EQ(after([](auto& b) { b.process[0].oom_score_adj = 1001; }),
            "process.oom_score_adj: not from -1000 to 1000");
  EXPECT_EQ(after([](auto& b) { b.process[0].flags = 16; }), "process.flags: unknown flag");
  EXPECT_EQ(after([](auto& b) { b.scheduling.pop_back(); }), "scheduling: not one record a thread");
  EXPECT_EQ(after([](auto& b) { b.scheduling[0].nice = 20; }),
            "scheduling[0].nice: not from -20 to 19");
  EXPECT_EQ(after([](auto& b) { b.scheduling[1].death_signal = 65; }),
            "scheduling[1].death_signal: no signal");
  EXPECT_EQ(after([](auto& b) { b.timers[1].id = 0; }), "timers[1].id: not above the previous one");
  EXPECT_EQ(after([](auto& b) { b.timers[1].notify = 2; }), "timers[1].notify: unknown");
  EXPECT_EQ(after([](auto& b) { b.timers[1].signal = 65; }), "timers[1].signal: no signal");
  EXPECT_EQ(after([](auto& b) { b.timers[0].remaining_ns = ~0ull; }),
            "timers[0].remaining_ns: over 292 years");
  EXPECT_EQ(after([](auto& b) { b.pending_signals[0].thread = 2; }),
            "pending_signals[0].thread: no such thread");
  EXPECT_EQ(after([](auto& b) { b.pending_signals[0].signal = 11; }),
            "pending_signals[0].info: of another signal");
}

}  // namespace
}  // namespace mitosis
