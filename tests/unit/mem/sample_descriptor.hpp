// SPDX-License-Identifier: MIT
// A small valid descriptor that has every section, for tests to look at and to break.
// World: user.
#pragma once

#include <mitosis/mem/descriptor/builder.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::test {

inline constexpr std::uint64_t text_at = 0x400000;
inline constexpr std::uint64_t heap_at = 0x10000000;
inline constexpr std::uint64_t library_at = 0x7f0000000000;
inline constexpr std::uint64_t stack_at = 0x7ffc00000000;

inline descriptor::VmaRecord vma(std::uint64_t at, std::uint64_t pages, descriptor::VmaKind kind,
                                 std::uint32_t path = descriptor::no_string) {
  descriptor::VmaRecord v = {};
  v.start = at;
  v.end = at + pages * page_size;
  v.prot = 3;
  v.kind = static_cast<std::uint32_t>(kind);
  v.path = path;
  return v;
}

inline descriptor::OwnerRecord owner(std::uint32_t machine, const char* where) {
  descriptor::OwnerRecord o = {};
  o.machine = machine;
  o.target_number = 70 + machine;
  o.target_key = 0x1122334455667788;
  o.handler = 73;
  o.generation = 5;
  std::strncpy(o.address, where, sizeof o.address - 1);
  return o;
}

/// mm, 7 VMAs, a shared object, 3 runs of two owners, 2 threads, 5 files, limits, auxv, attributes,
/// vdso.
inline DescriptorBuilder sample_builder() {
  using namespace descriptor;  // NOLINT
  DescriptorBuilder b(Arch::x86_64, HandlerId{73}, Generation{5});
  b.mm.start_code = text_at;
  b.mm.end_code = text_at + 0x1000;
  b.mm.start_brk = heap_at;
  b.mm.brk = heap_at + 0x8000;
  b.mm.start_stack = stack_at + 0x1000;
  b.mm.exe = b.string("/usr/bin/example");
  b.mm.cwd = b.string("/tmp");
  b.mm.umask = 022;
  b.machine.xfeatures = 7;
  b.machine.xstate_size = 832;
  b.machine.vdso_hash = 0xfeed;
  b.machine.kernel_release = b.string("6.1.0");
  b.machine.cpu_features = b.string("sse2,avx");
  b.vmas = {vma(text_at, 2, VmaKind::private_file, b.string("/usr/bin/example")),
            vma(heap_at, 8, VmaKind::anonymous),
            vma(heap_at + 8 * page_size, 4, VmaKind::anonymous),
            vma(library_at, 4, VmaKind::shared_file, b.string("/tmp/shared")),
            vma(stack_at, 4, VmaKind::stack, b.string("[stack]")),
            vma(stack_at + 16 * page_size, 2, VmaKind::vdso, b.string("[vdso]")),
            vma(stack_at + 24 * page_size, 4, VmaKind::shared_object)};
  b.shared_objects.push_back({7 * page_size + 1, b.string("/memfd:frames (deleted)"), 0});
  constexpr std::uint64_t shared_at = shared_source_start >> page_shift;
  b.shared_runs = {{0, shared_at, 2, 0}, {7, shared_at + 7, 1, 0}};
  b.filters = {{0, 0, 0, 2}, {1, 2, 2, 1}};
  b.held_locks = {{0x1008, 1, 0}, {0x1010, 0, 0}};
  b.filter_code = {0x20, 0x7fff000000000006, 0x7fff000000000006};
  b.add_run({page_of(heap_at), 4}, page_of(heap_at), 0);
  b.add_run({page_of(heap_at) + 4, 4}, page_of(heap_at), 1);
  b.add_run({page_of(stack_at) + 2, 2}, page_of(stack_at) + 2, 0);
  b.owners = {owner(1, "10.0.0.1:7000"), owner(2, "10.0.0.2:7000")};
  b.sigactions.resize(64);
  b.sigactions[14].handler = text_at + 16;
  const std::uint8_t xstate[832] = {1, 2, 3};
  ThreadRecord thread = {};
  thread.tid = 100;
  thread.registers[16] = text_at + 64;
  std::strcpy(thread.name, "example");
  b.add_thread(thread, Bytes(xstate));
  thread.tid = 101;
  b.add_thread(thread, {});
  const auto file = [&b](int fd, FileKind kind, const char* path, int same_as) {
    FileRecord f = {};
    f.fd = fd;
    f.kind = static_cast<std::uint32_t>(kind);
    f.path = path == nullptr ? no_string : b.string(path);
    f.same_as = same_as;
    f.offset = 10;
    b.files.push_back(f);
  };
  file(0, FileKind::standard_stream, nullptr, -1);
  file(1, FileKind::character_device, "/dev/null", -1);
  file(3, FileKind::regular, "/tmp/data", -1);
  file(9, FileKind::regular, "/tmp/data", 3);
  file(11, FileKind::eventfd, nullptr, -1);
  const std::uint8_t payload[] = {7, 0, 0, 0, 0, 0, 0, 0, 0};
  b.files.back().data = b.file_payload(payload);
  const auto member = [&b](std::uint32_t pid, std::uint32_t parent, std::uint32_t flags) {
    MemberRecord m = {};
    m.handler = 70 + pid;
    m.generation = 1;
    m.pid = pid;
    m.parent = parent;
    m.group = parent;
    m.session = no_leader;
    m.exit_signal = 17;
    m.flags = flags;
    m.first_file = b.tree.empty() ? 0 : 11;
    b.tree.push_back(m);
  };
  member(100, 0, 0);
  member(102, 0, 0);
  member(103, 1, member_zombie);
  b.limits = {{1024, 4096}, {~0ull, ~0ull}};
  b.auxv.assign(32, 0);
  ProcessRecord process = {};
  process.timers[1] = {3'000'000, 500};
  process.flags = process_dumpable;
  b.process.push_back(process);
  b.scheduling.resize(2);
  b.scheduling[1].nice = -5;
  TimerRecord timer = {};
  timer.notify = static_cast<std::uint32_t>(TimerNotify::none);
  b.timers.push_back(timer);
  timer.id = 4;
  timer.notify = static_cast<std::uint32_t>(TimerNotify::signal);
  timer.signal = 10;
  b.timers.push_back(timer);
  PendingSignalRecord pending = {};
  pending.thread = 1;
  pending.signal = 12;
  pending.info[0] = 12;
  b.pending_signals.push_back(pending);
  b.vdso.assign(24, 0x90);
  return b;
}

inline std::vector<std::uint8_t> sample_descriptor() {
  return sample_builder().finish();
}

}  // namespace mitosis::test
