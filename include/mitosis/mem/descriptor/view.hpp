// SPDX-License-Identifier: MIT
// DescriptorView: a parsed descriptor, without a copy. World: any (freestanding).
// A descriptor comes from another machine and may be hostile: `parse` checks every field of
// records.hpp once, so that what reads the view afterwards needs no checks of its own.
#pragma once

#include <mitosis/mem/descriptor/check_attributes.hpp>
#include <mitosis/mem/descriptor/check_memory.hpp>
#include <mitosis/mem/descriptor/check_process.hpp>
#include <mitosis/mem/descriptor/check_shared.hpp>
#include <mitosis/mem/descriptor/check_tree.hpp>
#include <mitosis/mem/descriptor/sections.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis {

/// Reads the sections of descriptor bytes that it does not own: they must outlive it, unchanged
/// (take a private copy of memory that another process can write). Copying is cheap. Any thread.
/// Whether this machine can run it (arch, vdso, CPU features) is for the caller to decide.
class DescriptorView {
 public:
  /// Checks everything; work is linear in the size (n log n in files), nothing is allocated.
  /// bad_descriptor names section, index, field and what is wrong: "vmas[3].end: not after start".
  static Result<DescriptorView> parse(Bytes bytes) noexcept;

  [[nodiscard]] const descriptor::Header& header() const noexcept { return sections_.header(); }
  [[nodiscard]] descriptor::Arch arch() const noexcept {
    return descriptor::Arch{header().arch};  // maybe one that this version has no name for
  }
  [[nodiscard]] HandlerId handler() const noexcept { return HandlerId{header().handler}; }
  [[nodiscard]] Generation generation() const noexcept { return Generation{header().generation}; }

  [[nodiscard]] descriptor::MmRecord mm() const noexcept {
    return one<descriptor::MmRecord>(Tag::mm);
  }
  [[nodiscard]] descriptor::MachineRecord machine() const noexcept {
    return one<descriptor::MachineRecord>(Tag::machine);
  }
  [[nodiscard]] auto vmas() const noexcept { return all<descriptor::VmaRecord>(Tag::vmas); }
  [[nodiscard]] auto runs() const noexcept { return all<descriptor::RunRecord>(Tag::runs); }
  [[nodiscard]] auto owners() const noexcept { return all<descriptor::OwnerRecord>(Tag::owners); }
  [[nodiscard]] auto threads() const noexcept {
    return all<descriptor::ThreadRecord>(Tag::threads);
  }
  [[nodiscard]] auto files() const noexcept { return all<descriptor::FileRecord>(Tag::files); }
  [[nodiscard]] auto limits() const noexcept { return all<descriptor::LimitRecord>(Tag::limits); }
  /// 64 of them, [i] is signal i+1; or none: then every signal has its default action.
  [[nodiscard]] auto sigactions() const noexcept {
    return all<descriptor::SigactionRecord>(Tag::sigactions);
  }
  /// One, or none: then the child has its resumer's attributes.
  [[nodiscard]] auto process() const noexcept {
    return all<descriptor::ProcessRecord>(Tag::process);
  }
  /// As many as threads, or none.
  [[nodiscard]] auto scheduling() const noexcept {
    return all<descriptor::SchedulingRecord>(Tag::scheduling);
  }
  [[nodiscard]] auto timers() const noexcept { return all<descriptor::TimerRecord>(Tag::timers); }
  [[nodiscard]] auto pending_signals() const noexcept {
    return all<descriptor::PendingSignalRecord>(Tag::pending_signals);
  }
  /// Seccomp filters, ascending by thread.
  [[nodiscard]] auto filters() const noexcept {
    return all<descriptor::FilterRecord>(Tag::filters);
  }
  /// Mutexes that know their owner by its number, ascending.
  [[nodiscard]] auto held_locks() const noexcept {
    return all<descriptor::HeldLockRecord>(Tag::held_locks);
  }
  [[nodiscard]] Bytes filter_code() const noexcept { return sections_.bytes(Tag::filter_code); }
  [[nodiscard]] auto shared_objects() const noexcept {
    return all<descriptor::SharedObjectRecord>(Tag::shared_objects);
  }
  [[nodiscard]] auto shared_runs() const noexcept {
    return all<descriptor::SharedRunRecord>(Tag::shared_runs);
  }
  /// The process and those that it has made; none: it is alone.
  [[nodiscard]] auto tree() const noexcept { return all<descriptor::MemberRecord>(Tag::tree); }
  [[nodiscard]] Bytes auxv() const noexcept { return sections_.bytes(Tag::auxv); }
  /// The front of the parent's vdso; empty: the descriptor has none.
  [[nodiscard]] Bytes vdso() const noexcept { return sections_.bytes(Tag::vdso); }
  /// What is kept of an open file besides its record; empty for none.
  [[nodiscard]] Bytes payload(const descriptor::FileRecord& file) const noexcept {
    return descriptor::payload_of(sections_.bytes(Tag::file_data), file.data);
  }
  /// The thread's XSAVE area, at any alignment; empty: the initial state.
  [[nodiscard]] Bytes xstate(const descriptor::ThreadRecord& thread) const noexcept {
    return sections_.bytes(Tag::xstate).sub(thread.xstate_offset, thread.xstate_bytes);
  }
  /// A string that a record names; "" for no_string.
  [[nodiscard]] const char* string(std::uint32_t offset) const noexcept {
    const Bytes strings = sections_.bytes(Tag::strings);
    if (offset >= strings.size()) return "";
    return reinterpret_cast<const char*>(strings.data()) + offset;
  }

 private:
  using Tag = descriptor::Tag;
  explicit DescriptorView(const descriptor::Sections& sections) noexcept : sections_(sections) {}
  template <class T>
  [[nodiscard]] T one(Tag tag) const noexcept {
    return all<T>(tag)[0];
  }
  template <class T>
  [[nodiscard]] descriptor::RecordArray<T> all(Tag tag) const noexcept {
    return sections_.records<T>(tag);
  }

  descriptor::Sections sections_;
};

inline Result<DescriptorView> DescriptorView::parse(Bytes bytes) noexcept {
  using namespace descriptor;  // NOLINT: the checks below are its vocabulary
  auto sections = Sections::find(bytes);
  if (!sections) return sections.error();
  for (const Tag tag :
       {Tag::mm, Tag::vmas, Tag::owners, Tag::threads, Tag::strings, Tag::machine}) {
    if (!sections->has(tag)) return refuse(name(tag), "the section is missing");
  }
  // In this order: later checks rely on earlier ones.
  for (const auto check : {check_strings,
                           check_mm,
                           check_machine,
                           check_vmas,
                           check_owners,
                           check_runs,
                           check_threads,
                           check_sigactions,
                           check_files,
                           check_limits,
                           check_auxv,
                           check_process_attributes,
                           check_scheduling,
                           check_timers,
                           check_pending_signals,
                           check_vdso,
                           check_shared_objects,
                           check_shared_runs,
                           check_shared_vmas,
                           check_tree,
                           check_filters,
                           check_held_locks}) {
    if (const Error e = check(*sections); e.code != Errc::ok) return e;
  }
  return DescriptorView(*sections);
}

}  // namespace mitosis
