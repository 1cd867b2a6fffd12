// SPDX-License-Identifier: MIT
// Regular and Memory: files with content, and the locks on them. World: user.
#pragma once

#include <mitosis/net/wire/limit.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mitosis::files {

/// All that is carried of the open files of one process.
inline constexpr std::uint64_t max_content = std::uint64_t{16} << 20;

enum class LockKind : std::uint8_t { flock = 0, open_file = 1, posix = 2, last = posix };
struct Lock {
  LockKind kind = LockKind::flock;
  bool write = false;
  std::uint64_t start = 0;  ///< bytes; flock(2) has none
  std::uint64_t bytes = 0;  ///< 0: to the end, wherever it is
  template <class A>
  void fields(A& a) {
    a(kind, write, start, bytes);
  }
};

/// Bytes of a file from `offset` on; between extents it has holes.
struct Extent {
  std::uint64_t offset = 0;
  std::vector<std::uint8_t> bytes;
  template <class A>
  void fields(A& a) {
    a(offset, wire::limit<max_content>(bytes));
  }
};
struct Content {
  std::uint64_t size = 0;
  std::vector<Extent> extents;  ///< ascending
  template <class A>
  void fields(A& a) {
    a(size, extents);
  }
};

/// What there is to say of a file that is reopened by its path.
struct Regular {
  std::vector<Lock> locks;
  std::uint32_t mode = 0;          ///< permissions, for `content`
  std::optional<Content> content;  ///< used where this machine has no such file
  template <class A>
  void fields(A& a) {
    a(locks, mode, content);
  }
};

/// A memfd, or a file without a name any more, which becomes one. Descriptors of one file share
/// `first`; only that one's payload has the content.
struct Memory {
  std::int32_t first = -1;
  std::string name;
  std::uint32_t mode = 0;   ///< permissions
  std::uint32_t seals = 0;  ///< F_GET_SEALS
  std::vector<Lock> locks;
  Content content;
  std::int32_t shared = -1;  ///< the shared object that it is, which has the content; -1: of none
  template <class A>
  void fields(A& a) {
    a(first, name, mode, seals, locks, content, shared);
  }
};

}  // namespace mitosis::files
