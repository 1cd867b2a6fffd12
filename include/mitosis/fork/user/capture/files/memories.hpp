// SPDX-License-Identifier: MIT
// read_memories(): the open files that have content of their own, once it is known what the process
// shares. World: user.
// What it has open and mapped shared at once is one object in a child, too: a memfd, whose content
// comes with the shared memory.
#pragma once

#include <fcntl.h>

#include <mitosis/fork/user/capture/proc_fds.hpp>
#include <mitosis/fork/user/capture/shared_memory.hpp>

#include <vector>

namespace mitosis::capture {

namespace detail {

/// Descriptors of shared objects become such, also those that have a path (in /dev/shm).
inline Result<void> tell_shared(const Target& target, std::vector<OpenFile>& all,
                                const SharedMemory& shared) {
  using descriptor::FileKind;
  for (OpenFile& file : all) {
    if (file.kind != FileKind::regular && file.kind != FileKind::memory) continue;
    const auto object = shared.find_file(file.device, file.inode);
    if (!object) continue;
    if ((file.flags & O_PATH) != 0) {
      const Error why = refuse_file(file, "opened with O_PATH, and also mapped shared");
      if (!target.drops(file, why)) return why;
      continue;
    }
    file.kind = FileKind::memory;
    file.shared = static_cast<std::int32_t>(*object);
    file.spare.reset();
  }
  return {};
}

/// Instead of read_memory(), which would carry the content with the file.
inline Result<void> read_shared_file(const Target& target, const std::vector<OpenFile>& all,
                                     const SharedObject& object, OpenFile& file) {
  if (target.is_tree() && (object.seals & F_SEAL_FUTURE_WRITE) != 0) {
    return refuse_file(file, "sealed against later writing, and mapped shared in a process tree");
  }
  files::Memory memory;
  for (const OpenFile& other : all) {
    if (other.shared != file.shared) continue;
    memory.first = other.fd;
    break;
  }
  memory.name = name_of_memory(file.path);
  memory.mode = object.mode;
  memory.seals = object.seals;
  memory.locks = file.locks;
  memory.shared = file.shared;
  file.path.clear();
  file.data = files::encode(memory);
  return {};
}

}  // namespace detail

/// The payloads of all files of FileKind::memory; `all` is of open_files() or of a tree's root.
inline Result<void> read_memories(Target& target, std::vector<OpenFile>& all,
                                  const SharedMemory& shared) {
  if (Result<void> ok = detail::tell_shared(target, all, shared); !ok) return ok;
  for (OpenFile& file : all) {
    if (file.kind != descriptor::FileKind::memory || file.same_as >= 0) continue;
    if (file.shared < 0) {
      if (Result<void> ok = detail::read_payload(target, all, file); !ok) return ok;
      continue;
    }
    const SharedObject& object = shared.objects()[static_cast<std::size_t>(file.shared)];
    const Result<void> read = detail::read_shared_file(target, all, object, file);
    if (!read && !target.drops(file, read.error())) return read;
  }
  return {};
}

}  // namespace mitosis::capture
