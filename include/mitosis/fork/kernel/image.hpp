// SPDX-License-Identifier: MIT
// The captured process as a descriptor, and back. World: kernel.
// The descriptor is the one of user space; what this module does not capture is left out.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/allocator.hpp>
#include <mitosis/fork/kernel/restorable.hpp>
#include <mitosis/mem/descriptor/flat_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/vdso_hash.hpp>

namespace mitosis::kernel {

inline constexpr unsigned image_sections = 11;

/// A record counts in 32 bits: more is several.
inline void write_run(descriptor::FlatWriter& out, PageRange pages, mitosis_u64 source,
                      std::uint16_t owner) noexcept {
  constexpr mitosis_u64 most = 1u << 31;
  while (pages.count != 0) {
    const mitosis_u64 count = pages.count < most ? pages.count : most;
    out.add(descriptor::RunRecord{static_cast<std::uint64_t>(pages.first), source,
                                  static_cast<std::uint32_t>(count),
                                  static_cast<std::uint16_t>(descriptor::RunKind::remote), owner});
    pages = {pages.first + count, pages.count - count};
    source += count;
  }
}

/// What the process has, in the order of its pages, and between that what others hold for it.
inline void write_runs(descriptor::FlatWriter& out, const mitosis_image& image) noexcept {
  mitosis_u64 index = 0, next = 0;
  PageNumber from{};  // what is held before it has been written, or is the process's own
  const auto write_held = [&](PageNumber until) {
    for (; next < image.held_count; ++next) {
      const mitosis_held& held = image.held[next];
      const PageNumber first{held.first}, end{held.first + held.count};
      const PageNumber begin = first < from ? from : first, stop = until < end ? until : end;
      if (begin < stop) {
        write_run(out, {begin, stop - begin}, held.source + (begin - first),
                  static_cast<std::uint16_t>(held.owner));
        from = stop;
      }
      if (until < end) return;  // goes on behind the run
    }
  };
  for (mitosis_u64 i = 0; i < image.run_count; ++i) {
    const PageRange own{PageNumber{image.runs[i].first}, image.runs[i].count};
    write_held(own.first);
    write_run(out, own, index, 0);
    index += own.count;
    from = own.end();
  }
  write_held(PageNumber{user_address_end >> page_shift});
}

inline void write_owners(descriptor::FlatWriter& out, const mitosis_image& image,
                         const mitosis_parent_name& self) noexcept {
  descriptor::OwnerRecord owner = {};
  owner.machine = mitosis_shim_machine();
  owner.handler = self.handler;
  owner.generation = self.generation;
  owner.target_number = self.target_number;
  owner.target_key = self.target_key;
  out.add(owner);
  for (mitosis_u64 i = 0; i < image.ancestor_count; ++i) {
    const mitosis_owner& its = image.ancestors[i];
    owner = {its.machine, its.target_number, its.target_key, its.handler, its.generation, {}};
    static_assert(sizeof owner.address == sizeof its.address);
    __builtin_memcpy(owner.address, its.address, sizeof owner.address);
    out.add(owner);
  }
}

/// The standard streams are the resumer's; others hold their number.
inline void write_files(descriptor::FlatWriter& out, const mitosis_image& image) noexcept {
  using descriptor::FileKind;
  constexpr std::uint32_t read_write = 2;
  for (mitosis_u64 i = 0; i < image.file_count; ++i) {
    const int fd = image.files[i];
    const FileKind kind = fd <= 2 ? FileKind::standard_stream : FileKind::dropped;
    out.add(descriptor::FileRecord{fd, static_cast<std::uint32_t>(kind), read_write, 0, 0, -1, 0});
  }
}

/// 0 where it has none.
inline std::uint64_t hash_of_vdso(const mitosis_image& image) noexcept {
  for (mitosis_u64 i = 0; i < image.vma_count; ++i) {
    const mitosis_vma& vma = image.vmas[i];
    if (vma.kind != MITOSIS_VMA_VDSO) continue;
    const Bytes front(static_cast<const std::uint8_t*>(image.vdso), image.vdso_bytes);
    return vdso_hash(front, vma.end - vma.start);
  }
  return 0;
}

// Of what glibc registers on x86-64.
inline constexpr std::uint64_t robust_list_bytes = 24, rseq_bytes = 32;

/// One thread. Returns the descriptor's bytes.
inline std::size_t encode(const mitosis_image& image, const mitosis_parent_name& self,
                          MutableBytes into) noexcept {
  using namespace descriptor;  // NOLINT: the records are its vocabulary
  FlatWriter out(into, image_sections);
  out.section(Tag::mm);
  const mitosis_mm& mm = image.mm;
  out.add(MmRecord{mm.start_code, mm.end_code, mm.start_data, mm.end_data, mm.start_brk, mm.brk,
                   mm.start_stack, mm.arg_start, mm.arg_end, mm.env_start, mm.env_end, no_string,
                   no_string, 0, 0});
  out.section(Tag::vmas);
  for (mitosis_u64 i = 0; i < image.vma_count; ++i) {
    const mitosis_vma& v = image.vmas[i];
    out.add(VmaRecord{v.start, v.end, 0, 0, 0, 0, v.prot, v.kind, no_string, 0});
  }
  out.section(Tag::runs);
  write_runs(out, image);
  out.section(Tag::owners);
  write_owners(out, image, self);
  out.section(Tag::sigactions);
  for (const mitosis_sigaction& a : image.sigactions) {
    out.add(SigactionRecord{a.handler, a.flags, a.restorer, a.mask});
  }
  out.section(Tag::threads);
  const mitosis_thread& t = image.thread;
  ThreadRecord thread = {};
  for (unsigned i = 0; i < 27; ++i) thread.registers[i] = t.registers[i];
  thread.signal_mask = t.signal_mask;
  thread.altstack_base = t.altstack_base;
  thread.altstack_bytes = t.altstack_bytes;
  thread.altstack_flags = t.altstack_flags;
  thread.robust_list = t.robust_list;
  thread.robust_list_bytes = t.robust_list != 0 ? robust_list_bytes : 0;
  thread.clear_child_tid = t.clear_child_tid;
  thread.rseq = t.rseq;
  thread.rseq_bytes = t.rseq != 0 ? rseq_bytes : 0;
  thread.rseq_signature = t.rseq_signature;
  thread.tid = t.tid;
  thread.xstate_bytes = static_cast<std::uint32_t>(image.xstate_bytes);
  __builtin_memcpy(thread.name, t.name, sizeof thread.name);
  thread.name[sizeof thread.name - 1] = 0;
  out.add(thread);
  out.section(Tag::xstate);
  out.add_bytes(image.xstate, image.xstate_bytes);
  out.section(Tag::strings);
  out.add_bytes("", 1);
  out.section(Tag::machine);
  MachineRecord machine = {};
  machine.xfeatures = image.xfeatures;
  machine.xstate_size = image.xstate_bytes;
  machine.vdso_hash = hash_of_vdso(image);
  machine.kernel_release = machine.cpu_features = no_string;
  out.add(machine);
  out.section(Tag::vdso);
  out.add_bytes(image.vdso, image.vdso_bytes);
  out.section(Tag::files);
  write_files(out, image);
  return out.finish(Arch::x86_64, HandlerId{self.handler}, Generation{self.generation});
}

/// `image.vmas` is the shim's to free, `image.xstate` and `image.vdso` point into the view's bytes.
inline Errc decode(const DescriptorView& view, mitosis_image& image) noexcept {
  image = {};
  if (view.arch() != descriptor::Arch::x86_64) return Errc::wrong_architecture;
  if (const Errc e = check_restorable(view); e != Errc::ok) return e;
  const auto vmas = view.vmas();
  image.vmas = static_cast<mitosis_vma*>(mitosis_shim_allocate(vmas.size() * sizeof(mitosis_vma)));
  if (image.vmas == nullptr) return Errc::out_of_memory;
  image.vma_count = vmas.size();
  for (std::size_t i = 0; i < vmas.size(); ++i) {
    const descriptor::VmaRecord v = vmas[i];
    image.vmas[i] = {v.start, v.end, v.prot,
                     is_fetched(v) ? mitosis_u32{MITOSIS_VMA_ANONYMOUS} : v.kind};
  }
  const descriptor::MmRecord mm = view.mm();
  image.mm = {mm.start_code,  mm.end_code,  mm.start_data, mm.end_data,  mm.start_brk, mm.brk,
              mm.start_stack, mm.arg_start, mm.arg_end,    mm.env_start, mm.env_end};
  const auto actions = view.sigactions();
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const descriptor::SigactionRecord a = actions[i];
    image.sigactions[i] = {a.handler, a.flags, a.restorer, a.mask};
  }
  const descriptor::ThreadRecord t = view.threads()[0];
  mitosis_thread& thread = image.thread;
  for (unsigned i = 0; i < 27; ++i) thread.registers[i] = t.registers[i];
  thread.signal_mask = t.signal_mask;
  thread.altstack_base = t.altstack_base;
  thread.altstack_bytes = t.altstack_bytes;
  thread.altstack_flags = t.altstack_flags;
  thread.robust_list = t.robust_list;
  thread.clear_child_tid = t.clear_child_tid;
  thread.rseq = t.rseq;
  thread.rseq_signature = t.rseq_signature;
  thread.tid = t.tid;
  __builtin_memcpy(thread.name, t.name, sizeof thread.name);
  const Bytes xstate = view.xstate(t);
  image.xstate = xstate.data();
  image.xstate_bytes = xstate.size();
  image.vdso = view.vdso().data();
  image.vdso_bytes = view.vdso().size();
  return Errc::ok;
}

}  // namespace mitosis::kernel
