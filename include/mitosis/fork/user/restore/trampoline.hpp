// SPDX-License-Identifier: MIT
// Trampoline: the code that runs the ops and, behind it, the frames that it returns from.
// World: user. All that is left of the launcher in the child: a page, and more with many threads.
#pragma once

#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/local/birth.hpp>
#include <mitosis/fork/user/restore/own_memory.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace mitosis::restore {

constexpr std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return (bytes + page_size - 1) & ~(page_size - 1);
}

/// What a child's leftover page is named in its maps, where the kernel knows names, so that a
/// capture of the child can leave it out.
inline constexpr const char* trampoline_name = "mitosis";

class Trampoline {
 public:
  /// In the lowest room there is: below programs, where no heap or stack wants to grow. Has room
  /// for the frames of all the descriptor's threads.
  static Result<Trampoline> make(const DescriptorView& view, Occupied& occupied) {
    Trampoline made;
    std::uint64_t end = aligned(arch::blob().size());
    for (const descriptor::ThreadRecord& thread : view.threads()) {
      made.frames_.push_back(end);
      end = aligned(end + arch::frame_bytes(view.xstate(thread)));
    }
    made.birth_ = end;
    auto memory =
        OwnMemory::find(whole_pages(end + sizeof(local::Birth)), user_address_end, occupied);
    if (!memory) return memory.error();
    made.memory_ = std::move(*memory);
    return made;
  }
  /// Writes code and frames, and makes them executable. `xfeatures` as arch::write_frame wants it.
  /// A child that asks for it is told its `birth`.
  Result<void> write(const DescriptorView& view, std::uint64_t xfeatures,
                     const local::Birth& birth) const noexcept {
    const Bytes code = arch::blob();
    std::memcpy(memory_.data(), code.data(), code.size());
    std::memcpy(memory_.data() + birth_, &birth, sizeof birth);
    const auto threads = view.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      descriptor::ThreadRecord thread = threads[i];
      if (arch::wants_birth(thread)) arch::tell_birth(thread, memory_.data() + birth_);
      arch::write_frame(thread, view.xstate(thread), xfeatures, memory_.data() + frames_[i]);
    }
    void* const start = memory_.data();
    const std::uint64_t bytes = memory_.range().bytes();
    if (::mprotect(start, bytes, PROT_READ | PROT_EXEC) != 0) {
      return Error(Errc::system_call_failed, "mprotect", errno).in("write the restorer");
    }
    (void)::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, bytes, trampoline_name);
    return {};
  }
  [[nodiscard]] Range range() const noexcept { return memory_.range(); }
  [[nodiscard]] std::uint64_t code() const noexcept { return memory_.range().start; }
  /// Where the child finds its local::Birth.
  [[nodiscard]] std::uint64_t birth() const noexcept { return code() + birth_; }
  /// Of the descriptor's thread `i`.
  [[nodiscard]] std::uint64_t frame(std::size_t i) const noexcept { return code() + frames_[i]; }

 private:
  static std::uint64_t aligned(std::uint64_t offset) noexcept {
    return (offset + 63) & ~std::uint64_t{63};
  }
  OwnMemory memory_;
  std::vector<std::uint64_t> frames_;  ///< by thread; offsets, as `birth_`
  std::uint64_t birth_ = 0;
};

}  // namespace mitosis::restore
