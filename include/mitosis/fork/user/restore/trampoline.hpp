// SPDX-License-Identifier: MIT
// Trampoline: the code that runs the ops and, behind it, the frame that it returns from.
// World: user. All that is left of the launcher in the child: one page, as a rule.
#pragma once

#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/restore/own_memory.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace mitosis::restore {

constexpr std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return (bytes + page_size - 1) & ~(page_size - 1);
}

/// What a child's leftover page is named in its maps, where the kernel knows names, so that a
/// capture of the child can leave it out.
inline constexpr const char* trampoline_name = "mitosis";

class Trampoline {
 public:
  /// In the lowest room there is: below programs, where no heap or stack wants to grow.
  static Result<Trampoline> make(Bytes xstate, Occupied& occupied) {
    const std::uint64_t bytes =
        whole_pages(code_room() + arch::frame_bytes(xstate) + socket_path_room);
    auto memory = OwnMemory::find(bytes, user_address_end, occupied);
    if (!memory) return memory.error();
    Trampoline made;
    made.memory_ = std::move(*memory);
    return made;
  }
  /// Writes code and frame, and makes them executable. `xfeatures` as arch::write_frame wants it.
  /// A child that asks for it is told where `socket`, its machine's agent, is.
  Result<void> write(descriptor::ThreadRecord thread, Bytes xstate, std::uint64_t xfeatures,
                     const std::string& socket) const noexcept {
    const Bytes code = arch::blob();
    std::memcpy(memory_.data(), code.data(), code.size());
    if (arch::wants_agent(thread) && socket.size() < socket_path_room) {
      std::uint8_t* const path = memory_.data() + code_room() + arch::frame_bytes(xstate);
      std::memcpy(path, socket.c_str(), socket.size() + 1);
      arch::tell_agent(thread, reinterpret_cast<const char*>(path));
    }
    arch::write_frame(thread, xstate, xfeatures, memory_.data() + code_room());
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
  [[nodiscard]] std::uint64_t frame() const noexcept { return code() + code_room(); }

 private:
  /// As much as a unix socket's address has.
  static constexpr std::size_t socket_path_room = 108;
  static std::uint64_t code_room() noexcept {
    return (arch::blob().size() + 63) & ~std::uint64_t{63};
  }
  OwnMemory memory_;
};

}  // namespace mitosis::restore
