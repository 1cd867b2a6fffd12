// SPDX-License-Identifier: MIT
// Room: where the child's memory will be, and where the restorer is meanwhile. World: user.
#pragma once

#include <linux/userfaultfd.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/fork/user/restore/op.hpp>
#include <mitosis/fork/user/restore/trampoline.hpp>
#include <mitosis/fork/user/restore/write_memory.hpp>
#include <mitosis/fork/user/restore/write_threads.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::restore {

struct Room {
  std::vector<Mapping> mappings;
  Trampoline trampoline;
  OwnMemory scratch;  ///< program, ops and their data; behind them the parking of vdso and vvar
  std::uint64_t program_bytes = 0;
  std::size_t max_ops = 0;

  [[nodiscard]] Keep keep() const noexcept {
    return {trampoline.range(), scratch.range(), scratch.range().start + program_bytes};
  }
};

/// Lays the child out and maps what the restorer needs around it. `own` is the launcher's memory,
/// `late_ops` what the files need besides two ops each.
inline Result<Room> make_room(const DescriptorView& view, LayoutOptions options,
                              const AddressSpace& own, std::size_t late_ops = 0) {
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
                              threads * ops_a_thread + starts + late_ops;
  const std::uint64_t program_bytes =
      whole_pages(fixed_bytes + max_ops * sizeof(Op) + mappings->size() * sizeof(uffdio_register) +
                  view.auxv().size() + threads * bytes_a_thread +
                  starts * sizeof(descriptor::PendingSignalRecord) + late_ops * late_op_bytes);
  auto scratch = OwnMemory::find(program_bytes + parking_bytes(own), user_address_end, occupied);
  if (!scratch) return scratch.error();
  return Room{std::move(*mappings), std::move(*trampoline), std::move(*scratch), program_bytes,
              max_ops};
}

}  // namespace mitosis::restore
