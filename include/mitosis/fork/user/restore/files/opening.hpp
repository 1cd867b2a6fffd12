// SPDX-License-Identifier: MIT
// Opening: what the openers of a child's files share. World: user.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/files/async.hpp>
#include <mitosis/fork/user/files/content.hpp>
#include <mitosis/fork/user/files/payload.hpp>
#include <mitosis/fork/user/files/watches.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::restore {

/// What can be done only under the child's final numbers.
struct LateEpoll {
  int epoll = -1;  ///< the set's descriptor
  files::EpollEntry entry;
};
struct LateLock {
  int fd = -1;
  files::Lock lock;
};

/// Seals that would forbid what is mapped: only once it is.
struct LateSeal {
  int fd = -1;  ///< the launcher's
  std::uint32_t seals = 0;
};

/// Sockets' paths that a failed resume must not leave behind; empty after a move.
class MadePaths {
 public:
  MadePaths() = default;
  MadePaths(MadePaths&& other) noexcept : paths_(std::exchange(other.paths_, {})) {}
  MadePaths& operator=(MadePaths&& other) noexcept {
    std::swap(paths_, other.paths_);
    return *this;
  }
  MadePaths(const MadePaths&) = delete;
  MadePaths& operator=(const MadePaths&) = delete;
  ~MadePaths() {
    for (const std::string& path : paths_) (void)::unlink(path.c_str());
  }
  void add(std::string path) { paths_.push_back(std::move(path)); }

 private:
  std::vector<std::string> paths_;
};

/// A datagram socket that is connected once all sockets of the child are bound.
struct LateConnect {
  std::int32_t fd = -1;  ///< of the record
  int socket = -1;       ///< not owned
  std::string peer;
  bool is_bound = false;
};

/// Lives while the files are opened. Objects that several records share are kept here, by the first
/// record's number, and go with it: what no descriptor of the child holds then is gone.
struct Opening {
  Opening(const DescriptorView& from, Span<UniqueFd> objects) noexcept
      : view(from), shared(objects) {}
  const DescriptorView& view;
  Span<UniqueFd> shared;  ///< the shared objects, as they are to be mapped
  struct Ends {
    UniqueFd read, write;
  };
  struct MadeMemory {
    UniqueFd fd;
    std::uint32_t mode = 0, seals = 0;
    int mapped = -1;  ///< a shared object's: what it is mapped from
  };
  std::map<std::int32_t, Ends> pipes;
  std::map<std::int32_t, UniqueFd> peers;  ///< the second ends of socket pairs
  std::map<std::int32_t, MadeMemory> memories;
  std::vector<LateConnect> connects;
  std::vector<LateEpoll> epolls;
  std::vector<LateLock> locks;
  MadePaths made;

  /// The record of a descriptor, if it has this kind and is not another's copy.
  [[nodiscard]] std::optional<descriptor::FileRecord> record(std::int32_t fd,
                                                             descriptor::FileKind kind) const {
    const auto all = view.files();
    std::size_t low = 0, high = all.size();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      (all[middle].fd < fd ? low : high) = all[middle].fd < fd ? middle + 1 : middle;
    }
    if (low == all.size() || all[low].fd != fd || all[low].same_as >= 0) return std::nullopt;
    if (descriptor::FileKind{all[low].kind} != kind) return std::nullopt;
    return all[low];
  }
};

/// file_missing: "descriptor 5: WHAT".
inline Error cannot_make(const descriptor::FileRecord& file, const char* what, int err) noexcept {
  Error error(Errc::file_missing, "descriptor ", err);
  descriptor::append_number(error.subject, static_cast<std::uint64_t>(file.fd));
  error.subject.append(": ").append(what);
  return error.in("reopen files");
}
/// bad_descriptor, of a payload that contradicts itself or others.
inline Error bad_payload(const descriptor::FileRecord& file, const char* what) noexcept {
  Error error(Errc::bad_descriptor, "descriptor ");
  descriptor::append_number(error.subject, static_cast<std::uint64_t>(file.fd));
  error.subject.append(": ").append(what);
  return error.in("reopen files");
}

/// The payload of a record; bad_descriptor.
template <class P>
Result<P> payload_of(const Opening& opening, const descriptor::FileRecord& file) {
  Result<P> payload = files::decode<P>(opening.view.payload(file));
  if (!payload) return bad_payload(file, "its payload is malformed");
  return payload;
}

/// A new open file description of what `fd` is, with the record's access mode.
inline UniqueFd open_again(int fd, const descriptor::FileRecord& file) {
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  const int access = static_cast<int>(file.flags) & O_ACCMODE;
  return UniqueFd(::open(self.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

/// The record's status flags: O_APPEND, O_NONBLOCK, O_DIRECT; O_ASYNC last, as the owner is needed.
inline Result<void> set_flags(int fd, const descriptor::FileRecord& file,
                              const files::Async& async = {}) {
  if (async.owner != files::Owner::none) {
    f_owner_ex owner = {F_OWNER_PID, ::getpid()};
    if (async.owner == files::Owner::thread) owner = {F_OWNER_TID, ::gettid()};
    if (async.owner == files::Owner::group) owner = {F_OWNER_PGRP, ::getpgrp()};
    if (::fcntl(fd, F_SETOWN_EX, &owner) != 0 || ::fcntl(fd, F_SETSIG, async.signal) != 0) {
      return cannot_make(file, "whom it signals", errno);
    }
  }
  constexpr int settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC;
  if (::fcntl(fd, F_SETFL, static_cast<int>(file.flags) & settable) != 0) {
    return cannot_make(file, "its flags", errno);
  }
  return {};
}

}  // namespace mitosis::restore
