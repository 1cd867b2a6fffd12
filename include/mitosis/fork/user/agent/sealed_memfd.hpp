// SPDX-License-Identifier: MIT
// Sealed memfds: how bytes are handed to launchers and to a later worker. World: user.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstdint>
#include <vector>

namespace mitosis::agent {

/// A memfd with these bytes that nobody can change any more, read from its start.
inline Result<UniqueFd> sealed_memfd(const char* name, Bytes bytes) noexcept {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Error(Errc::system_call_failed, "memfd_create", errno);
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t n =
        ::pwrite(fd.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n <= 0) return Error(Errc::out_of_memory, "a descriptor's memfd", errno);
    at += static_cast<std::size_t>(n);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
      0) {
    return Error(Errc::system_call_failed, "fcntl(F_ADD_SEALS)", errno);
  }
  return fd;
}

/// All bytes of a memfd.
inline Result<std::vector<std::uint8_t>> read_all(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error(Errc::system_call_failed, "fstat", errno);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(status.st_size));
  if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return Error(Errc::system_call_failed, "pread of a memfd", errno);
  }
  return bytes;
}

}  // namespace mitosis::agent
