// SPDX-License-Identifier: MIT
// RegisteredWindows: a large memory of which only what is used gets registered. World: user.
// A cache or a landing pool is much larger than what is touched of it, and registered memory is
// resident; so it is registered window by window, when a read first lands there.
#pragma once

#include <mitosis/mem/page.hpp>
#include <mitosis/mem/registrar.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mitosis {

/// One thread uses it. Windows overlap by half, so that any read of up to `reach` bytes lies within
/// one: a request names one registration. Must end before its memory is unmapped.
class RegisteredWindows {
 public:
  static constexpr std::uint64_t reach = 64 * page_size;

  RegisteredWindows() noexcept = default;
  /// `registrar` null: no memory is registered, all keys are 0.
  RegisteredWindows(Registrar* registrar, MutableBytes memory) noexcept
      : registrar_(registrar), memory_(memory) {}

  /// The key of [offset, offset + bytes); 0 where it is not registered: no registrar, more than
  /// `reach` bytes, outside of the memory, or the device refused (asked again next time).
  [[nodiscard]] std::uint32_t key(std::uint64_t offset, std::uint64_t bytes) noexcept {
    if (registrar_ == nullptr || bytes > reach || offset > memory_.size() ||
        bytes > memory_.size() - offset) {
      return 0;
    }
    const auto at = static_cast<std::size_t>(offset / reach);
    if (windows_.size() <= at) windows_.resize(at + 1);
    if (windows_[at] == nullptr) {
      const std::uint64_t start = at * reach;
      const std::uint64_t left = memory_.size() - start;
      auto made = registrar_->for_landing(memory_.sub(start, left < 2 * reach ? left : 2 * reach));
      if (!made) return 0;
      windows_[at] = std::move(made).value();
    }
    return windows_[at]->local_key();
  }
  [[nodiscard]] bool registers() const noexcept { return registrar_ != nullptr; }

 private:
  Registrar* registrar_ = nullptr;
  MutableBytes memory_;
  std::vector<std::unique_ptr<Registration>> windows_;
};

}  // namespace mitosis
