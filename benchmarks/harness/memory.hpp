// SPDX-License-Identifier: MIT
// Memory: a private anonymous mapping, as a program's data is. World: user.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bench {

inline constexpr std::size_t page = 4096;
inline constexpr std::size_t mib = std::size_t{1} << 20;

/// Owns a mapping of whole pages; never huge ones, so that every machine measures the same thing.
class Memory {
 public:
  explicit Memory(std::size_t bytes) noexcept : bytes_(bytes) {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return;
    data_ = static_cast<std::uint8_t*>(at);
    ::madvise(at, bytes, MADV_NOHUGEPAGE);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  [[nodiscard]] bool ok() const noexcept { return data_ != nullptr; }
  [[nodiscard]] std::uint8_t* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t pages() const noexcept { return bytes_ / page; }

  /// Makes every page present, each with bytes of its own.
  void touch() const noexcept {
    for (std::size_t i = 0; i < pages(); ++i) {
      const std::uint64_t mark = content(i);
      std::memcpy(data_ + i * page, &mark, sizeof mark);
    }
  }
  /// Reads the first word of page `i`; false where it is not what touch() wrote.
  [[nodiscard]] bool check(std::size_t i) const noexcept {
    std::uint64_t mark;
    std::memcpy(&mark, data_ + i * page, sizeof mark);
    return mark == content(i);
  }

 private:
  static std::uint64_t content(std::size_t i) noexcept {
    return (std::uint64_t{i} + 1) * 0x9e3779b97f4a7c15u;
  }
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace bench
