// SPDX-License-Identifier: MIT
// DescriptorBuilder: collects records and writes the descriptor. World: user (std containers).
// The one encoder; what it writes is what DescriptorView reads.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/mem/descriptor/attribute_records.hpp>
#include <mitosis/mem/descriptor/records.hpp>
#include <mitosis/mem/descriptor/shared_records.hpp>
#include <mitosis/mem/descriptor/tree_records.hpp>
#include <mitosis/mem/page.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mitosis {

/// Collects in any order of sections, but each section's records in the order that records.hpp
/// demands; it does not check (DescriptorView::parse does). One thread. May throw bad_alloc only.
class DescriptorBuilder {
 public:
  DescriptorBuilder(descriptor::Arch arch, HandlerId handler, Generation generation);

  descriptor::MmRecord mm = {};
  descriptor::MachineRecord machine = {};
  std::vector<descriptor::VmaRecord> vmas;
  std::vector<descriptor::RunRecord> runs;
  std::vector<descriptor::OwnerRecord> owners;
  std::vector<descriptor::SigactionRecord> sigactions;  ///< 64, or none
  std::vector<descriptor::ThreadRecord> threads;
  std::vector<descriptor::FileRecord> files;
  std::vector<descriptor::LimitRecord> limits;
  std::vector<descriptor::ProcessRecord> process;        ///< one, or none
  std::vector<descriptor::SchedulingRecord> scheduling;  ///< one a thread, or none
  std::vector<descriptor::TimerRecord> timers;
  std::vector<descriptor::PendingSignalRecord> pending_signals;
  std::vector<descriptor::FilterRecord> filters;
  std::vector<std::uint64_t> filter_code;
  std::vector<descriptor::HeldLockRecord> held_locks;
  std::vector<descriptor::SharedObjectRecord> shared_objects;
  std::vector<descriptor::SharedRunRecord> shared_runs;
  std::vector<descriptor::MemberRecord> tree;  ///< of a root with members; [0] is itself
  std::vector<std::uint8_t> auxv;
  std::vector<std::uint8_t> vdso;

  /// The string's offset for a record; the same text is kept once. Cut at an embedded zero.
  std::uint32_t string(std::string_view text);
  /// Keeps an open file's payload; returns what FileRecord::data is to say.
  std::uint32_t file_payload(Bytes payload);
  /// Keeps the thread's XSAVE area and notes in the record where it is.
  void add_thread(descriptor::ThreadRecord thread, Bytes xstate);
  /// Appends a run, or lengthens the last one where it goes on (in page, source and owner). Runs
  /// of two VMAs must not be joined: then call it with `join` false for the second's first.
  void add_run(PageRange pages, PageNumber source, std::uint16_t owner, bool join = true);
  /// Adds a section of another version (or of a test) verbatim.
  void add_section(std::uint32_t tag, bool required, Bytes bytes);

  /// Writes the descriptor. The builder stays as it is and can be added to.
  [[nodiscard]] std::vector<std::uint8_t> finish() const;

 private:
  struct Section {
    std::uint32_t tag, flags;
    Bytes bytes;
  };
  struct Foreign {
    std::uint32_t tag, flags;
    std::vector<std::uint8_t> bytes;
  };
  [[nodiscard]] std::vector<Section> sections() const;

  descriptor::Arch arch_;
  HandlerId handler_;
  Generation generation_;
  std::vector<std::uint8_t> strings_;
  std::vector<std::uint8_t> xstate_;
  std::vector<std::uint8_t> file_data_;
  std::vector<Foreign> foreign_;
  std::unordered_map<std::string, std::uint32_t> interned_;
};

inline DescriptorBuilder::DescriptorBuilder(descriptor::Arch arch, HandlerId handler,
                                            Generation generation)
    : arch_(arch), handler_(handler), generation_(generation) {
  // A zeroed field names the empty string, not whichever came first.
  string("");
}

inline std::uint32_t DescriptorBuilder::string(std::string_view text) {
  text = text.substr(0, text.find('\0'));
  const auto offset = static_cast<std::uint32_t>(strings_.size());
  const auto [at, is_new] = interned_.try_emplace(std::string(text), offset);
  if (is_new) {
    strings_.insert(strings_.end(), text.begin(), text.end());
    strings_.push_back(0);
  }
  return at->second;
}

inline std::uint32_t DescriptorBuilder::file_payload(Bytes payload) {
  const auto at = static_cast<std::uint32_t>(file_data_.size());
  const auto length = static_cast<std::uint32_t>(payload.size());
  for (unsigned shift = 0; shift < 32; shift += 8) {
    file_data_.push_back(static_cast<std::uint8_t>(length >> shift));
  }
  file_data_.insert(file_data_.end(), payload.begin(), payload.end());
  return at + 1;
}

inline void DescriptorBuilder::add_thread(descriptor::ThreadRecord thread, Bytes xstate) {
  thread.xstate_offset = static_cast<std::uint32_t>(xstate_.size());
  thread.xstate_bytes = static_cast<std::uint32_t>(xstate.size());
  xstate_.insert(xstate_.end(), xstate.begin(), xstate.end());
  threads.push_back(thread);
}

inline void DescriptorBuilder::add_run(PageRange pages, PageNumber source, std::uint16_t owner,
                                       bool join) {
  constexpr std::uint64_t longest = 0xffffffffu;
  std::uint64_t from = index(source);
  while (!pages.empty()) {
    descriptor::RunRecord* last = join && !runs.empty() ? &runs.back() : nullptr;
    if (last != nullptr && last->owner == owner && last->page + last->count == index(pages.first) &&
        last->source + last->count == from && last->count + pages.count <= longest) {
      last->count += static_cast<std::uint32_t>(pages.count);
      return;
    }
    const std::uint64_t count = pages.count < longest ? pages.count : longest;
    runs.push_back({index(pages.first), from, static_cast<std::uint32_t>(count),
                    static_cast<std::uint16_t>(descriptor::RunKind::remote), owner});
    pages = {pages.first + count, pages.count - count};
    from += count;
  }
}

inline void DescriptorBuilder::add_section(std::uint32_t tag, bool required, Bytes bytes) {
  foreign_.push_back({tag, required ? descriptor::section_required : 0,
                      std::vector<std::uint8_t>(bytes.begin(), bytes.end())});
}

inline std::vector<DescriptorBuilder::Section> DescriptorBuilder::sections() const {
  using descriptor::Tag;
  std::vector<Section> list;
  // Required: a child would run wrongly without it, so a decoder that lacks it must refuse.
  const auto add = [&list](Tag tag, bool required, const auto* first, std::size_t count) {
    if (count == 0) return;
    list.push_back({static_cast<std::uint32_t>(tag), required ? descriptor::section_required : 0,
                    Bytes(reinterpret_cast<const std::uint8_t*>(first), count * sizeof *first)});
  };
  add(Tag::mm, true, &mm, 1);
  add(Tag::machine, true, &machine, 1);
  add(Tag::vmas, true, vmas.data(), vmas.size());
  add(Tag::runs, true, runs.data(), runs.size());
  add(Tag::owners, true, owners.data(), owners.size());
  add(Tag::sigactions, true, sigactions.data(), sigactions.size());
  add(Tag::threads, true, threads.data(), threads.size());
  add(Tag::xstate, true, xstate_.data(), xstate_.size());
  add(Tag::files, true, files.data(), files.size());
  add(Tag::file_data, true, file_data_.data(), file_data_.size());
  add(Tag::limits, false, limits.data(), limits.size());
  add(Tag::auxv, false, auxv.data(), auxv.size());
  add(Tag::process, true, process.data(), process.size());
  add(Tag::scheduling, false, scheduling.data(), scheduling.size());
  add(Tag::timers, true, timers.data(), timers.size());
  add(Tag::pending_signals, true, pending_signals.data(), pending_signals.size());
  add(Tag::vdso, false, vdso.data(), vdso.size());
  add(Tag::shared_objects, true, shared_objects.data(), shared_objects.size());
  add(Tag::shared_runs, true, shared_runs.data(), shared_runs.size());
  add(Tag::tree, true, tree.data(), tree.size());
  add(Tag::filters, true, filters.data(), filters.size());
  add(Tag::filter_code, true, filter_code.data(), filter_code.size());
  add(Tag::held_locks, false, held_locks.data(), held_locks.size());
  add(Tag::strings, true, strings_.data(), strings_.size());
  for (const Foreign& f : foreign_) list.push_back({f.tag, f.flags, f.bytes});
  return list;
}

inline std::vector<std::uint8_t> DescriptorBuilder::finish() const {
  using namespace descriptor;  // NOLINT: the records are its vocabulary
  const std::vector<Section> list = sections();
  const auto aligned = [](std::size_t n) { return (n + 7) & ~std::size_t{7}; };
  std::size_t total = sizeof(Header) + list.size() * sizeof(SectionRecord);
  for (const Section& s : list) total = aligned(total) + s.bytes.size();

  std::vector<std::uint8_t> out(total);
  Header header = {};
  header.magic = magic;
  header.version = version;
  header.arch = static_cast<std::uint16_t>(arch_);
  header.page_shift = static_cast<std::uint8_t>(page_shift);
  header.total_bytes = total;
  header.handler = static_cast<std::uint64_t>(handler_);
  header.generation = static_cast<std::uint64_t>(generation_);
  header.section_count = static_cast<std::uint32_t>(list.size());
  std::memcpy(out.data(), &header, sizeof header);

  std::size_t entry = sizeof header;
  std::size_t at = entry + list.size() * sizeof(SectionRecord);
  for (const Section& s : list) {
    at = aligned(at);
    const SectionRecord record = {s.tag, s.flags, at, s.bytes.size()};
    std::memcpy(out.data() + entry, &record, sizeof record);
    if (!s.bytes.empty()) std::memcpy(out.data() + at, s.bytes.data(), s.bytes.size());
    entry += sizeof record;
    at += s.bytes.size();
  }
  return out;
}

}  // namespace mitosis
