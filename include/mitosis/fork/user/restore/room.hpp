// SPDX-License-Identifier: MIT
// Room: where the child's memory will be, and where the restorer is meanwhile. World: user.
#pragma once

#include <linux/userfaultfd.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/fork/user/restore/op.hpp>
#include <mitosis/fork/user/restore/seccomp.hpp>
#include <mitosis/fork/user/restore/trampoline.hpp>
#include <mitosis/fork/user/restore/vdso.hpp>
#include <mitosis/fork/user/restore/write_marks.hpp>
#include <mitosis/fork/user/restore/write_memory.hpp>
#include <mitosis/fork/user/restore/write_threads.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace mitosis::restore {

struct Room {
  std::vector<Mapping> mappings;
  Trampoline trampoline;
  /// Program, ops and their data; behind them the parking of vdso and vvar, and behind that, where
  /// the kernel is another, the redirected copy of the parent's vdso.
  OwnMemory scratch;
  OwnMemory home;  ///< then also: where this machine's vdso will be in the child
  std::uint64_t program_bytes = 0, parking_bytes = 0;
  std::size_t max_ops = 0;

  [[nodiscard]] Keep keep() const noexcept {
    const std::uint64_t parking = scratch.range().start + program_bytes;
    return {trampoline.range(), scratch.range(), parking, home.range(), parking + parking_bytes};
  }
};

namespace detail {
/// Puts the redirected copy of the parent's vdso at the end of the scratch, executable.
inline Result<void> put_vdso_copy(const DescriptorView& view, const AddressSpace& own,
                                  const Room& room) {
  const std::uint64_t bytes = special_ranges(view).vdso.bytes();
  const std::uint64_t at = room.home.range().start + (own.vdso.start - vdso_span(own).start);
  const auto image = redirect_vdso(view.vdso(), bytes, own_vdso(own.vdso), at);
  if (!image) return image.error();
  void* const to = reinterpret_cast<void*>(room.keep().image);
  std::memcpy(to, image->data(), image->size());
  if (::mprotect(to, bytes, PROT_READ | PROT_EXEC) != 0) {
    return Error(Errc::system_call_failed, "mprotect", errno).in("redirect the parent's vdso");
  }
  return {};
}
}  // namespace detail

/// Lays the child out and maps what the restorer needs around it. `own` is the launcher's memory,
/// `here` its machine, `late_ops` what the files need besides two ops each.
inline Result<Room> make_room(const DescriptorView& view, LayoutOptions options,
                              const AddressSpace& own, const Machine& here,
                              std::size_t late_ops = 0) {
  auto mappings = layout(view, options);
  if (!mappings) return mappings.error();
  Occupied occupied(own.mapped, *mappings);
  auto trampoline = Trampoline::make(view, occupied);
  if (!trampoline) return trampoline.error();
  // At most two ops a mapping and a file; 62 signals, 16 limits and some 60 more.
  constexpr std::size_t fixed_ops = 288, fixed_bytes = std::size_t{20} << 10;
  constexpr std::size_t late_op_bytes = 32;  // an epoll_event, a flock
  const std::size_t threads = view.threads().size();
  const std::size_t starts = view.timers().size() + view.pending_signals().size();
  const std::size_t max_ops = fixed_ops + 2 * mappings->size() + 2 * view.files().size() +
                              threads * ops_a_thread + 2 * starts + late_ops + filter_ops(view) +
                              mark_ops(view) + view.held_locks().size();
  const std::uint64_t program_bytes =
      whole_pages(fixed_bytes + max_ops * sizeof(Op) + mappings->size() * sizeof(uffdio_register) +
                  view.auxv().size() + threads * bytes_a_thread + filter_bytes(view) +
                  starts * sizeof(descriptor::PendingSignalRecord) + late_ops * late_op_bytes);
  const bool same_vdso = is_same_vdso(view, here);
  const std::uint64_t copy_bytes = same_vdso ? 0 : special_ranges(view).vdso.bytes();
  Room room;
  if (!same_vdso) {
    auto home = OwnMemory::find(vdso_span(own).bytes(), user_address_end, occupied);
    if (!home) return home.error();
    room.home = std::move(*home);
  }
  auto scratch =
      OwnMemory::find(program_bytes + parking_bytes(own) + copy_bytes, user_address_end, occupied);
  if (!scratch) return scratch.error();
  room.mappings = std::move(*mappings);
  room.trampoline = std::move(*trampoline);
  room.scratch = std::move(*scratch);
  room.program_bytes = program_bytes;
  room.parking_bytes = parking_bytes(own);
  room.max_ops = max_ops;
  if (same_vdso) return room;
  if (Result<void> put = detail::put_vdso_copy(view, own, room); !put) return put.error();
  return room;
}

}  // namespace mitosis::restore
