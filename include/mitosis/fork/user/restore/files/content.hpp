// SPDX-License-Identifier: MIT
// open_memory(), open_by_path(): files with content. World: user.
#pragma once

#include <sys/mman.h>

#include <mitosis/fork/user/restore/files/locks.hpp>
#include <mitosis/fork/user/restore/open_file.hpp>

namespace mitosis::restore {

namespace detail {

/// A memfd with this content, writable until `finish_memories`.
inline Result<UniqueFd> make_memory(const descriptor::FileRecord& file, const std::string& name,
                                    const files::Content& content) {
  constexpr std::size_t longest_name = 249;  // memfd_create(2)
  UniqueFd fd(
      ::memfd_create(name.substr(0, longest_name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return cannot_make(file, "a memfd", errno);
  if (::fchmod(fd.get(), 0700) != 0 ||
      ::ftruncate(fd.get(), static_cast<off_t>(content.size)) != 0) {
    return cannot_make(file, "a memfd of its size", errno);
  }
  for (const files::Extent& extent : content.extents) {
    if (extent.offset > content.size || extent.bytes.size() > content.size - extent.offset) {
      return bad_payload(file, "content past its end");
    }
    std::size_t done = 0;
    while (done < extent.bytes.size()) {
      const ssize_t n = ::pwrite(fd.get(), extent.bytes.data() + done, extent.bytes.size() - done,
                                 static_cast<off_t>(extent.offset + done));
      if (n <= 0) return cannot_make(file, "a memfd with its content", errno);
      done += static_cast<std::size_t>(n);
    }
  }
  return fd;
}

/// One of the child's descriptions of a memfd.
inline Result<UniqueFd> open_made(int memory, const descriptor::FileRecord& file) {
  UniqueFd fd = open_again(memory, file);
  if (!fd || ::lseek(fd.get(), static_cast<off_t>(file.offset), SEEK_SET) < 0) {
    return cannot_make(file, "a memfd", errno);
  }
  if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
  return fd;
}

/// One of the shared objects. What is sealed against writing can be mapped by a descriptor that
/// cannot write only, if the seal is to hold.
inline Result<Opening::MadeMemory> shared_memory(Opening& opening,
                                                 const descriptor::FileRecord& file,
                                                 const files::Memory& memory) {
  const auto at = static_cast<std::size_t>(memory.shared);
  if (at >= opening.shared.size()) return bad_payload(file, "no such shared memory");
  UniqueFd& object = opening.shared[at];
  UniqueFd own(::fcntl(object.get(), F_DUPFD_CLOEXEC, 3));
  if (own && (memory.seals & F_SEAL_WRITE) != 0) {
    descriptor::FileRecord reading = {};
    reading.flags = O_RDONLY;
    object = open_again(own.get(), reading);
  }
  if (!own || !object) return cannot_make(file, "shared memory", errno);
  const int mapped = object.get();
  return Opening::MadeMemory{std::move(own), memory.mode, memory.seals, mapped};
}

inline Result<Opening::MadeMemory> memory_of(Opening& opening, const descriptor::FileRecord& file,
                                             const files::Memory& memory) {
  if (memory.shared >= 0) return shared_memory(opening, file, memory);
  auto made = make_memory(file, memory.name, memory.content);
  if (!made) return made.error();
  return Opening::MadeMemory{std::move(*made), memory.mode, memory.seals};
}

}  // namespace detail

inline Result<UniqueFd> open_memory(Opening& opening, const descriptor::FileRecord& file) {
  auto memory = payload_of<files::Memory>(opening, file);
  if (!memory) return memory.error();
  auto at = opening.memories.find(memory->first);
  if (at == opening.memories.end()) {
    const auto first = opening.record(memory->first, descriptor::FileKind::memory);
    if (!first) return bad_payload(file, "of a file that is not there");
    const auto whole = payload_of<files::Memory>(opening, *first);
    if (!whole) return whole.error();
    auto made = detail::memory_of(opening, *first, *whole);
    if (!made) return made.error();
    at = opening.memories.emplace(memory->first, std::move(*made)).first;
  }
  auto fd = detail::open_made(at->second.fd.get(), file);
  if (!fd) return fd;
  if (Result<void> ok = take_locks(opening, file, fd->get(), memory->locks); !ok) return ok.error();
  return fd;
}

/// A regular file, directory or device of this path here; where there is no such file, a memfd with
/// the content that has been carried, if any.
inline Result<UniqueFd> open_by_path(Opening& opening, const descriptor::FileRecord& file) {
  const char* const path = opening.view.string(file.path);
  auto fd = open_file(file, path);
  if (file.data == 0) return fd;
  const auto regular = payload_of<files::Regular>(opening, file);
  if (!regular) return regular.error();
  const bool missing = !fd && (fd.error().os_errno == ENOENT || fd.error().os_errno == ENOTDIR);
  if (missing && regular->content) {
    const std::string name = std::string(path).substr(std::string(path).rfind('/') + 1);
    auto made = detail::make_memory(file, name, *regular->content);
    if (!made) return made.error();
    fd = detail::open_made(made->get(), file);
    if (fd && ::fchmod(made->get(), regular->mode & 07777) != 0) {
      return cannot_make(file, "its permissions", errno);
    }
  }
  if (!fd) return fd;
  if (Result<void> ok = take_locks(opening, file, fd->get(), regular->locks); !ok) {
    return ok.error();
  }
  return fd;
}

/// Once all descriptors of the memfds are open: the seals and permissions that forbid more. Those
/// seals are returned that would forbid a mapping.
inline Result<std::vector<LateSeal>> finish_memories(const Opening& opening) {
  std::vector<LateSeal> late;
  for (const auto& [fd, memory] : opening.memories) {
    descriptor::FileRecord first = {};
    first.fd = fd;
    if (::fchmod(memory.fd.get(), memory.mode & 07777) != 0) {
      return cannot_make(first, "its permissions", errno);
    }
    const std::uint32_t both = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    if (memory.mapped >= 0 && (memory.seals & both) == F_SEAL_FUTURE_WRITE) {
      late.push_back({memory.mapped, memory.seals});
      continue;
    }
    if (memory.seals != 0 &&
        ::fcntl(memory.fd.get(), F_ADD_SEALS, static_cast<int>(memory.seals)) != 0) {
      return cannot_make(first, "its seals", errno);
    }
  }
  return late;
}

}  // namespace mitosis::restore
