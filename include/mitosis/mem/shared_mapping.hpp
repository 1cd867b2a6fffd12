// SPDX-License-Identifier: MIT
// SharedMapping: owns one shared mapping of a file. World: user.
#pragma once

#include <sys/mman.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace mitosis {

/// Owns a MAP_SHARED mapping of a file's first bytes; move-only; survives a self-move.
class SharedMapping {
 public:
  SharedMapping() noexcept = default;
  /// `prot` as of mmap(2); from `offset` on, a multiple of a page. The file must be that long for
  /// as long as the mapping is touched.
  static Result<SharedMapping> of(int fd, std::size_t bytes, int prot,
                                  std::uint64_t offset = 0) noexcept {
    if (bytes == 0) return SharedMapping();
    void* at =
        ::mmap(nullptr, bytes, prot, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
      return Error(errno == ENOMEM ? Errc::out_of_memory : Errc::system_call_failed, "mmap", errno);
    }
    return SharedMapping(static_cast<std::uint8_t*>(at), bytes);
  }
  /// Memory of no file, all zeros.
  static Result<SharedMapping> anonymous(std::size_t bytes) noexcept {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
      return Error(errno == ENOMEM ? Errc::out_of_memory : Errc::system_call_failed, "mmap", errno);
    }
    return SharedMapping(static_cast<std::uint8_t*>(at), bytes);
  }
  SharedMapping(SharedMapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  SharedMapping& operator=(SharedMapping&& other) noexcept {
    if (this != &other) {
      unmap();
      data_ = std::exchange(other.data_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;
  ~SharedMapping() { unmap(); }

  [[nodiscard]] std::uint8_t* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

 private:
  SharedMapping(std::uint8_t* data, std::size_t bytes) noexcept : data_(data), bytes_(bytes) {}
  void unmap() noexcept {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace mitosis
