// SPDX-License-Identifier: MIT
// What a descriptor says of the memory: mappings, the pages that they have, locks in them. World:
// user.
#pragma once

#include <fmt/format.h>

#include <mitosis/fork/user/capture/capture_request.hpp>
#include <mitosis/fork/user/capture/held_locks.hpp>
#include <mitosis/fork/user/capture/mapped_file.hpp>
#include <mitosis/fork/user/capture/page_runs.hpp>
#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/mem/shadow_source.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace mitosis::capture::detail {

/// Memory that a fork leaves out would be missing in the children.
inline Result<void> check_all_copied(int process, const ParentFacts& parent) {
  const Result<std::vector<char>> status = read_at(process, "status", 1u << 20);
  if (!status) return status.error();
  const std::uint64_t copied = mapped_kib(view(*status));
  if (copied >= parent.memory_kib) return {};
  const std::string about =
      fmt::format("{} KiB of its memory are marked MADV_DONTFORK", parent.memory_kib - copied);
  return Error(Errc::unsupported_process, about.c_str()).in("check memory");
}

/// The pages of all mappings that have any of their own.
inline Result<void> find_pages(Pagemap& pagemap, const std::vector<Mapping>& mappings,
                               std::vector<PresentRun>& present) {
  using descriptor::VmaKind;
  for (const Mapping& m : mappings) {
    const VmaKind kind = kind_of(m);
    if (kind != VmaKind::anonymous && kind != VmaKind::stack && kind != VmaKind::private_file) {
      continue;
    }
    if (Result<void> ok = pagemap.scan(m.start, m.end, present); !ok) {
      return ok.error().at_address(m.start);
    }
  }
  return {};
}

/// Takes a range out of the mappings. One that the kernel has merged with it keeps its rest.
inline void hide(std::vector<Mapping>& mappings, std::uint64_t start, std::uint64_t end) {
  std::vector<Mapping> rest;
  for (const Mapping& m : mappings) {
    if (m.end <= start || m.start >= end) {
      rest.push_back(m);
      continue;
    }
    Mapping below = m, above = m;
    below.end = start;
    above.start = end;
    if (below.start < below.end) rest.push_back(below);
    if (above.start < above.end) rest.push_back(above);
  }
  mappings.swap(rest);
}

/// Of a process that did not choose the moment. One that cannot be read is said to have none: then
/// its pages cannot be had either.
inline void add_held_locks(const CaptureRequest& request, int process,
                           const std::vector<Mapping>& mappings,
                           const std::vector<PresentRun>& present, DescriptorBuilder& builder) {
  Result<UniqueFd> memory = open_at(process, "mem", 0);
  if (!memory) return;
  ShadowSource source(std::move(memory).value());
  std::vector<std::uint32_t> numbers;
  for (const ThreadState& thread : request.threads) numbers.push_back(thread.record.tid);
  HeldLocks locks(source, numbers);
  for (const Mapping& m : mappings) locks.look(m, present);
  builder.held_locks = locks.take();
}

/// One mapping: its record and its runs.
inline Result<void> add_mapping(const Mapping& m, const SharedMemory& shared, MappedFiles& files,
                                RunWriter& runs, DescriptorBuilder& builder) {
  using descriptor::VmaKind;
  const VmaKind kind = kind_of(m);
  const PageRange pages = {page_of(m.start), (m.end - m.start) >> page_shift};
  descriptor::VmaRecord record = {};
  record.start = m.start;
  record.end = m.end;
  record.prot = m.prot;
  record.kind = static_cast<std::uint32_t>(kind);
  record.path = descriptor::no_string;
  record.flags = m.marks;
  // What is wiped on a fork is zero, whatever an ancestor has there.
  const bool wiped = (m.marks & descriptor::vma_wipe_on_fork) != 0;
  if ((kind == VmaKind::anonymous || kind == VmaKind::stack) && !wiped) runs.add_private(pages);
  if (kind == VmaKind::shared_object) {
    const auto object = shared.find(m);
    if (!object) return refuse_shared(m, "is new since it was looked at");
    record.file_inode = *object;
    record.file_offset = m.offset;
  }
  if (kind == VmaKind::private_file || kind == VmaKind::shared_file) {
    const std::optional<MappedFile> file = files.find(m);
    if (!file && kind == VmaKind::shared_file) {
      const std::string about = fmt::format("the shared mapping of {} cannot be reopened", m.path);
      return Error(Errc::unsupported_process, about.c_str()).in("check memory");
    }
    record.path = builder.string(unescape(m.path));
    record.file_offset = m.offset;
    record.file_inode = m.inode;
    // A file that is gone: no time and as long as the mapping, so that nothing is identical to it.
    record.file_size = file ? file->size : m.offset + (m.end - m.start);
    record.file_mtime_ns = file ? file->mtime_ns : 0;
    if (kind == VmaKind::private_file && runs.is_dirty(pages)) {
      record.flags |= descriptor::vma_dirty;
      const std::uint64_t behind =
          record.file_size > m.offset ? record.file_size - m.offset : 0;  // bytes up to the end
      const std::uint64_t in_file = (behind + page_size - 1) >> page_shift;
      runs.add_whole(pages, {pages.first, std::min(pages.count, in_file)});
    }
  }
  builder.vmas.push_back(record);
  return {};
}

}  // namespace mitosis::capture::detail
