// SPDX-License-Identifier: MIT
// OutBuffer: bytes that a socket could not take yet. World: user; one thread.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mitosis::tcp {

class OutBuffer {
 public:
  /// What `send` came to: all is sent, the socket takes no more now, or it is broken (errno).
  enum class Outcome : std::uint8_t { sent, full, broken };

  void put(const void* bytes, std::size_t count) {
    const auto* const raw = static_cast<const std::uint8_t*>(bytes);
    bytes_.insert(bytes_.end(), raw, raw + count);
  }
  void put(const std::vector<std::uint8_t>& bytes) { put(bytes.data(), bytes.size()); }
  [[nodiscard]] Outcome send(int fd) noexcept {
    while (at_ < bytes_.size()) {
      const ssize_t sent =
          ::send(fd, bytes_.data() + at_, bytes_.size() - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) {
        at_ += static_cast<std::size_t>(sent);
      } else if (errno == EAGAIN) {
        return Outcome::full;
      } else if (errno != EINTR) {
        return Outcome::broken;
      }
    }
    clear();
    return Outcome::sent;
  }
  void clear() noexcept {
    bytes_.clear();
    at_ = 0;
  }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

 private:
  std::vector<std::uint8_t> bytes_;
  std::size_t at_ = 0;  ///< so many are sent
};

}  // namespace mitosis::tcp
