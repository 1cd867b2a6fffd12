// SPDX-License-Identifier: MIT
// The parsers of /proc's text: what they read, and that odd text is refused, not believed.
#include <gtest/gtest.h>

#include <mitosis/fork/user/capture/machine.hpp>
#include <mitosis/fork/user/capture/mapping_kind.hpp>
#include <mitosis/fork/user/capture/marks.hpp>
#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/fork/user/capture/proc_stat.hpp>
#include <mitosis/fork/user/local/resume_signal.hpp>

#include <string>

namespace mitosis::capture {
namespace {

using descriptor::VmaKind;

TEST(ProcMaps, ReadsAddressesRightsAndNames) {
  const std::string text =
      "10000-11000 r-xp 00000000 00:00 0                                [anon:mitosis]\n"
      "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]\n"
      "7f0000000000-7f0000002000 r-xs 00003000 fe:01 1234     /lib/with space.so\n"
      "7f0000002000-7f0000003000 ---p 00000000 00:00 0 \n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
  const auto mappings = parse_maps(text);
  ASSERT_TRUE(mappings.ok());
  ASSERT_EQ(mappings->size(), 3u);
  const Mapping& library = (*mappings)[1];
  EXPECT_EQ(library.start, 0x7f0000000000u);
  EXPECT_EQ(library.end, 0x7f0000002000u);
  EXPECT_EQ(library.offset, 0x3000u);
  EXPECT_EQ(library.inode, 1234u);
  EXPECT_EQ(library.prot, static_cast<std::uint32_t>(PROT_READ | PROT_EXEC));
  EXPECT_TRUE(library.shared);
  EXPECT_EQ(library.path, "/lib/with space.so");
  EXPECT_EQ((*mappings)[0].path, "[heap]");
  EXPECT_EQ((*mappings)[2].path, "");
  EXPECT_EQ((*mappings)[2].prot, 0u);
}

TEST(ProcMaps, RefusesWhatTheKernelWouldNotWrite) {
  for (const char* text :
       {"", "x", "-", "1000-", "1000-2000", "1000-2000 rw-p", "2000-1000 rw-p 0 0:0 0",
        "1000-2000 rw 0 0:0 0", "1000-2000 rw-p zz 0:0 0", "1000-1000 rw-p 0 0:0 0",
        "10000000000000000-20000000000000000 rw-p 0 0:0 0",
        "1000-3000 rw-p 0 0:0 0\n2000-4000 rw-p 0 0:0 0"}) {
    EXPECT_EQ(parse_maps(text).ok(), std::string(text).empty()) << text;
  }
}

TEST(ProcMaps, UndoesTheEscapedNewline) {
  EXPECT_EQ(unescape("/a\\012b\\01"), "/a\nb\\01");
}

TEST(ProcStat, IsNotFooledByTheProgramsName) {
  std::string text = "7 (a) 1 (b) S";
  for (int field = 4; field <= 52; ++field) text += " " + std::to_string(field * 100);
  descriptor::MmRecord mm = {};
  ASSERT_TRUE(parse_stat(text, mm).ok());
  EXPECT_EQ(mm.start_code, 2600u);
  EXPECT_EQ(mm.start_stack, 2800u);
  EXPECT_EQ(mm.start_data, 4500u);
  EXPECT_EQ(mm.start_brk, 4700u);
  EXPECT_EQ(mm.env_end, 5100u);
}

TEST(ProcStat, NamesTheMissingPrivilege) {
  std::string zeros = "7 (a) S";
  for (int field = 4; field <= 52; ++field) zeros += " 0";
  descriptor::MmRecord mm = {};
  EXPECT_EQ(parse_stat(zeros, mm).code(), Errc::missing_privilege);
  EXPECT_EQ(parse_stat("7 (a", mm).code(), Errc::unsupported_process);
  EXPECT_EQ(parse_stat("7 (a)", mm).code(), Errc::unsupported_process);
}

TEST(ProcText, FieldsAndNumbersAreWholeOrNothing) {
  EXPECT_EQ(field("Threads:\t3\nName:\t a \n", "Name"), "a");
  EXPECT_EQ(field("Threadses:\t3\nThreads:\t4", "Threads"), "4");
  EXPECT_EQ(field("", "Threads"), "");
  EXPECT_EQ(number("12"), 12u);
  EXPECT_FALSE(number("12x").has_value());
  EXPECT_FALSE(number("").has_value());
  EXPECT_FALSE(number("99999999999999999999").has_value());
}

Mapping mapping(const char* path, bool shared) {
  Mapping m;
  m.start = 0x1000;
  m.end = 0x2000;
  m.shared = shared;
  m.path = path;
  return m;
}

TEST(MappingKind, TellsMemoryFromFiles) {
  EXPECT_EQ(kind_of(mapping("", false)), VmaKind::anonymous);
  EXPECT_EQ(kind_of(mapping("[heap]", false)), VmaKind::anonymous);
  EXPECT_EQ(kind_of(mapping("[anon:name]", false)), VmaKind::anonymous);
  EXPECT_EQ(kind_of(mapping("/dev/zero", false)), VmaKind::anonymous);
  EXPECT_EQ(kind_of(mapping("[stack]", false)), VmaKind::stack);
  EXPECT_EQ(kind_of(mapping("/bin/cat", false)), VmaKind::private_file);
  EXPECT_EQ(kind_of(mapping("/bin/cat", true)), VmaKind::shared_file);
  EXPECT_EQ(kind_of(mapping("[vvar_vclock]", false)), VmaKind::vvar_vclock);
}

TEST(MappingKind, MemoryOfAResumedChildIsItsOwn) {
  const Mapping cached = mapping("/memfd:mitosis-cache (deleted)", false);
  EXPECT_TRUE(check_mappings({cached}).ok());
  EXPECT_EQ(kind_of(cached), VmaKind::anonymous);
}

TEST(MappingKind, PrivateMemoryOfAFileThatIsGoneComesAlong) {
  EXPECT_TRUE(check_mapping(mapping("/tmp/gone (deleted)", false)).ok());
  EXPECT_TRUE(check_mapping(mapping("/memfd:buffer (deleted)", false)).ok());
  EXPECT_FALSE(check_mapping(mapping("/anon_hugepage (deleted)", false)).ok());
}

TEST(MappingKind, SharedMemoryWithoutAPathIsAnObject) {
  for (const char* path : {"", "/dev/zero (deleted)", "[anon_shmem:name]",
                           "/memfd:buffer (deleted)", "/dev/shm/queue", "/tmp/gone (deleted)"}) {
    EXPECT_TRUE(check_mapping(mapping(path, true)).ok()) << path;
    EXPECT_EQ(kind_of(mapping(path, true)), VmaKind::shared_object) << path;
  }
}

// As the agent's own map looks, while its other threads map memory between two reads of it.
TEST(Machine, FindsTheVdsoInAMapThatContradictsItself) {
  const std::string text =
      "7f0000000000-7f0000009000 rw-p 00000000 00:00 0 \n"
      "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n"
      "7fff00001000-7fff00003000 r-xp 00000000 00:00 0                          [vdso]\n";
  EXPECT_FALSE(parse_maps(text).ok());
  const Bytes vdso = detail::own_vdso(text);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(vdso.data()), 0x7fff00001000u);
  EXPECT_EQ(vdso.size(), 0x2000u);
  EXPECT_TRUE(detail::own_vdso("10000-11000 r-xp 00000000 00:00 0 [heap]\n").empty());
}

/// As /proc/PID/smaps has it: a range, its rights, its flags; and a protection key, if any.
std::string smaps_of(const char* range, const char* rights, const char* flags, int key = -1) {
  std::string text = std::string(range) + " " + rights + " 00000000 00:00 0\nSize: 4 kB\n";
  if (key >= 0) text += "ProtectionKey:         " + std::to_string(key) + "\n";
  return text + "VmFlags: " + flags + " \n";
}

TEST(Marks, AreReadAndAddedToMappingsWhichTheyCut) {
  using namespace descriptor;
  const auto marked = parse_marks(smaps_of("1000-4000", "rw-p", "rd wr mr mw me lo ac") +
                                  smaps_of("4000-5000", "rw-p", "rd wr sd") +
                                  smaps_of("6000-9000", "r--p", "rd dc dd wf"));
  ASSERT_TRUE(marked.ok());
  ASSERT_EQ(marked->size(), 2u);
  auto mappings = *parse_maps(
      "1000-5000 rw-p 00000000 00:00 0\n"
      "5000-8000 rw-p 00070000 00:07 7    /tmp/file\n"
      "8000-a000 rw-p 00000000 00:00 0    [stack]\n");
  add_marks(mappings, *marked);
  const std::uint32_t forked = vma_dont_fork | vma_dont_dump | vma_wipe_on_fork;
  const struct {
    std::uint64_t start, end, offset;
    std::uint32_t marks;
  } expected[] = {{0x1000, 0x4000, 0, vma_locked},
                  {0x4000, 0x5000, 0, 0},
                  {0x5000, 0x6000, 0x70000, 0},
                  {0x6000, 0x8000, 0x71000, forked},
                  {0x8000, 0xa000, 0, 0}};
  ASSERT_EQ(mappings.size(), std::size(expected));
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    EXPECT_EQ(mappings[i].start, expected[i].start) << i;
    EXPECT_EQ(mappings[i].end, expected[i].end) << i;
    EXPECT_EQ(mappings[i].offset, expected[i].offset) << i;
    EXPECT_EQ(mappings[i].marks, expected[i].marks) << i;
  }
}

TEST(Marks, RefuseProtectionKeysButThatOfExecuteOnlyMemory) {
  EXPECT_TRUE(parse_marks(smaps_of("1000-4000", "rw-p", "rd", 0)).ok());
  EXPECT_TRUE(parse_marks(smaps_of("1000-4000", "--xp", "ex", 1)).ok());
  const auto refused = parse_marks(smaps_of("1000-4000", "rw-p", "rd", 3));
  ASSERT_EQ(refused.code(), Errc::unsupported_process);
  EXPECT_NE(std::string(refused.error().subject.c_str()).find("1000-4000 has protection key 3"),
            std::string::npos);
}

TEST(ResumeSignal, IsToldByTheNameOfAMapping) {
  EXPECT_EQ(local::resume_signal_of("/memfd:mitosis-resume-40 (deleted)"), 40u);
  EXPECT_EQ(local::resume_signal_of("/memfd:mitosis-resume-64 (deleted)"), 64u);
  for (const char* other :
       {"/memfd:mitosis-resume- (deleted)", "/memfd:mitosis-resume-33 (deleted)",
        "/memfd:mitosis-resume-65", "/memfd:mitosis-resume-99999999999999",
        "/tmp/mitosis-resume-40", "/memfd:mitosis (deleted)", ""}) {
    EXPECT_EQ(local::resume_signal_of(other), 0u) << other;
  }
}

TEST(MappingKind, RefusesByName) {
  const std::pair<const char*, const char*> shared[] = {
      {"/anon_hugepage (deleted)", "huge pages"},
      {"/secretmem (deleted)", "secret memory"},
      {"/[aio] (deleted)", "an asynchronous I/O context"},
      {"anon_inode:[io_uring]", "a kernel object"},
      {"/dev/dri/card0", "a device"}};
  for (const auto& [path, what] : shared) {
    const Result<void> checked = check_mappings({mapping(path, true)});
    ASSERT_EQ(checked.code(), Errc::unsupported_process) << path;
    EXPECT_NE(std::string(checked.error().subject.c_str()).find(what), std::string::npos) << path;
  }
}

}  // namespace
}  // namespace mitosis::capture
