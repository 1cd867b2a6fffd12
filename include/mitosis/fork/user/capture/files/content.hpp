// SPDX-License-Identifier: MIT
// read_memory(): files whose content is carried: memfds, and what has no name any more. World:
// user.
#pragma once

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <mitosis/fork/user/capture/files/target.hpp>
#include <mitosis/fork/user/files/payload.hpp>

#include <functional>
#include <string>

namespace mitosis::capture {

/// All bytes of a file, without its holes. `may` is asked before each part is read.
inline Result<files::Content> read_content(int fd, std::uint64_t size,
                                           const std::function<Result<void>(std::uint64_t)>& may) {
  files::Content content;
  content.size = size;
  for (std::uint64_t at = 0; at < size;) {
    off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // holes up to the end
    off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
    if (data < 0 || hole <= data) {  // a filesystem that knows no holes
      data = static_cast<off_t>(at);
      hole = static_cast<off_t>(size);
    }
    const std::uint64_t end = std::min(static_cast<std::uint64_t>(hole), size);
    files::Extent extent;
    extent.offset = static_cast<std::uint64_t>(data);
    if (extent.offset >= end) break;
    if (Result<void> fits = may(end - extent.offset); !fits) return fits.error();
    extent.bytes.resize(end - extent.offset);
    std::size_t got = 0;
    while (got < extent.bytes.size()) {
      const ssize_t n = ::pread(fd, extent.bytes.data() + got, extent.bytes.size() - got,
                                data + static_cast<off_t>(got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error(Errc::system_call_failed, "read", errno).in("carry a file");
      if (n == 0) return Error(Errc::unsupported_file, "it gets shorter").in("carry a file");
      got += static_cast<std::size_t>(n);
    }
    content.extents.push_back(std::move(extent));
    at = end;
  }
  return content;
}

namespace detail {
/// "/memfd:NAME (deleted)" or "/tmp/NAME (deleted)": NAME.
inline std::string name_of_memory(std::string_view link) {
  if (link.ends_with(deleted_suffix)) link.remove_suffix(deleted_suffix.size());
  if (link.starts_with("/memfd:")) return std::string(link.substr(7));
  return std::string(link.substr(link.rfind('/') + 1));
}
}  // namespace detail

inline Result<void> read_memory(Target& target, const std::vector<OpenFile>& all, OpenFile& file) {
  files::Memory memory;
  for (const OpenFile& other : all) {
    if (other.kind != file.kind || other.inode != file.inode || other.device != file.device) {
      continue;
    }
    memory.first = other.fd;
    break;
  }
  memory.locks = file.locks;
  if (memory.first == file.fd) {
    struct stat is = {};
    const std::string name = "fd/" + std::to_string(file.number);
    if (::fstatat(target.process(), name.c_str(), &is, 0) != 0) {
      return Error(Errc::system_call_failed, "fstatat", errno).in("check open files");
    }
    Result<UniqueFd> fd = target.reopen(file, is);
    if (!fd) return fd.error();
    struct statfs where = {};
    if (::fstatfs(fd->get(), &where) != 0 || where.f_type == HUGETLBFS_MAGIC) {
      return refuse_file(file, "a memfd of huge pages");
    }
    memory.name = detail::name_of_memory(file.path);
    memory.mode = is.st_mode & 07777;
    const int seals = ::fcntl(fd->get(), F_GET_SEALS);
    memory.seals = seals < 0 ? 0 : static_cast<std::uint32_t>(seals);
    auto content = read_content(fd->get(), static_cast<std::uint64_t>(is.st_size),
                                [&](std::uint64_t bytes) { return target.carry(bytes); });
    if (!content) {
      if (content.code() != Errc::limit_exceeded) return content.error();
      return refuse_file(file, "longer than can be carried: 16 MiB of all such files");
    }
    memory.content = std::move(*content);
  }
  file.path.clear();
  file.data = files::encode(memory);
  return {};
}

}  // namespace mitosis::capture
