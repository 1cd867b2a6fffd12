// SPDX-License-Identifier: MIT
// The captured process as a descriptor, and back. World: kernel.
// The descriptor is the one of user space; what this module does not capture is left out.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/allocator.hpp>
#include <mitosis/mem/descriptor/flat_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>

namespace mitosis::kernel {

inline constexpr unsigned image_sections = 9;

inline void write_runs(descriptor::FlatWriter& out, const mitosis_image& image) noexcept {
  constexpr mitosis_u64 most = 1u << 31;  // a record counts in 32 bits
  mitosis_u64 index = 0;
  for (mitosis_u64 i = 0; i < image.run_count; ++i) {
    mitosis_run run = image.runs[i];
    while (run.count != 0) {
      const mitosis_u64 count = run.count < most ? run.count : most;
      out.add(descriptor::RunRecord{run.first, index, static_cast<std::uint32_t>(count),
                                    static_cast<std::uint16_t>(descriptor::RunKind::remote), 0});
      index += count;
      run = {run.first + count, run.count - count};
    }
  }
}

/// One thread, one owner: this machine. Returns the descriptor's bytes.
inline std::size_t encode(const mitosis_image& image, HandlerId handler, Generation generation,
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
  OwnerRecord owner = {};
  owner.machine = mitosis_shim_machine();
  owner.handler = static_cast<std::uint64_t>(handler);
  owner.generation = static_cast<std::uint64_t>(generation);
  out.add(owner);
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
  thread.clear_child_tid = t.clear_child_tid;
  thread.rseq = t.rseq;
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
  machine.xstate_size = image.xstate_bytes;
  machine.kernel_release = machine.cpu_features = no_string;
  out.add(machine);
  return out.finish(Arch::x86_64, handler, generation);
}

/// `image.vmas` is the shim's to free, `image.xstate` points into the view's bytes.
inline Errc decode(const DescriptorView& view, mitosis_image& image) noexcept {
  image = {};
  if (view.arch() != descriptor::Arch::x86_64) return Errc::wrong_architecture;
  if (view.threads().size() != 1) return Errc::unsupported_process;
  const auto vmas = view.vmas();
  image.vmas = static_cast<mitosis_vma*>(mitosis_shim_allocate(vmas.size() * sizeof(mitosis_vma)));
  if (image.vmas == nullptr) return Errc::out_of_memory;
  image.vma_count = vmas.size();
  for (std::size_t i = 0; i < vmas.size(); ++i) {
    const descriptor::VmaRecord v = vmas[i];
    image.vmas[i] = {v.start, v.end, v.prot, v.kind};
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
  return Errc::ok;
}

}  // namespace mitosis::kernel
