// SPDX-License-Identifier: MIT
// Secret: the cluster's shared secret, and the loader of its file. World: user.
#pragma once

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace mitosis::auth {

/// A key derived from the cluster secret. Its bytes are wiped when it dies; copying is explicit by
/// deriving it again, so that there are few of them to wipe.
class Secret {
 public:
  static constexpr std::size_t min_bytes = 16;  ///< shorter secrets are refused: they get guessed
  static constexpr std::size_t max_bytes = 4096;
  static constexpr std::size_t mac_bytes = crypto_auth_hmacsha512256_BYTES;

  /// Derives the key from `material`. invalid_argument where it is too short or too long.
  [[nodiscard]] static Result<Secret> from(Bytes material) {
    if (material.size() < min_bytes || material.size() > max_bytes) {
      return Error(Errc::invalid_argument, "a cluster secret has 16 to 4096 bytes");
    }
    if (sodium_init() < 0) return Error(Errc::system_call_failed, "libsodium");
    Secret secret;
    crypto_generichash(secret.key_, sizeof(secret.key_), material.data(), material.size(), nullptr,
                       0);
    return secret;
  }
  [[nodiscard]] static Result<Secret> load(const std::string& path);

  Secret(Secret&& other) noexcept { *this = static_cast<Secret&&>(other); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      std::memcpy(key_, other.key_, sizeof(key_));
      sodium_memzero(other.key_, sizeof(other.key_));
    }
    return *this;
  }
  ~Secret() { sodium_memzero(key_, sizeof(key_)); }

  /// HMAC-SHA512-256 of `message` into `mac` (mac_bytes long).
  void mac(Bytes message, std::uint8_t* mac) const noexcept {
    crypto_auth_hmacsha512256(mac, message.data(), message.size(), key_);
  }

 private:
  Secret() = default;
  std::uint8_t key_[crypto_auth_hmacsha512256_KEYBYTES] = {};
};

/// Reads a secret file. It must be a regular file that only its owner can read, and its owner must
/// be root or the caller; line ends at its end do not count. Errors name the path.
inline Result<Secret> Secret::load(const std::string& path) {
  const auto failed = [&path](Errc code, const char* why, int err) {
    return Error(code, (path + ": " + why).c_str(), err).in("load the cluster secret");
  };
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && errno == ENOENT) {
    return failed(Errc::invalid_argument,
                  "is missing; write 16 random bytes or more to it, the same on all machines",
                  ENOENT);
  }
  if (!file) return failed(Errc::invalid_argument, "cannot be opened", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failed(Errc::system_call_failed, "fstat", errno);
  if (!S_ISREG(status.st_mode)) {
    return failed(Errc::invalid_argument, "is not a regular file", 0);
  }
  if ((status.st_mode & 077) != 0) {
    return failed(Errc::not_permitted, "is accessible to others; `chmod 600` it", 0);
  }
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return failed(Errc::not_permitted, "belongs to another user", 0);
  }
  std::uint8_t buffer[max_bytes + 1];
  std::size_t size = 0;
  while (size < sizeof(buffer)) {
    const ssize_t got = ::read(file.get(), buffer + size, sizeof(buffer) - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(Errc::system_call_failed, "read", errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  while (size > 0 && (buffer[size - 1] == '\n' || buffer[size - 1] == '\r')) --size;
  Result<Secret> secret = from(Bytes(buffer, size));
  sodium_memzero(buffer, sizeof(buffer));
  if (!secret.ok()) return failed(secret.code(), secret.error().subject.c_str(), 0);
  return secret;
}

}  // namespace mitosis::auth
