// SPDX-License-Identifier: MIT
// MappedFiles: the local files behind the parent's file mappings. World: user.
// Clean pages of a program and its libraries are never sent: the same file lies here, as a rule.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/restore/layout.hpp>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::restore {

class MappedFiles {
 public:
  /// Opens each file once, with the caller's identity. One that is missing, unreadable or not the
  /// parent's (size, time of last change) is carried instead: that is no error.
  static Result<MappedFiles> open(const DescriptorView& view);

  /// Indices of the VMAs whose pages come from the parent's machine, ascending.
  [[nodiscard]] Span<const std::uint32_t> carried() const noexcept { return carried_; }
  /// The file to map for a VMA that is not carried; -1 for what is no file.
  [[nodiscard]] int fd(std::uint32_t vma) const noexcept {
    const std::int32_t at = file_of_[vma];
    return at < 0 ? -1 : files_[static_cast<std::size_t>(at)].fd.get();
  }

 private:
  struct File {
    std::uint32_t path = descriptor::no_string;  ///< paths are kept once: equal offset, same path
    bool writable = false;
    UniqueFd fd;
    std::uint64_t size = 0, mtime_ns = 0;
    bool no_exec = false;
  };
  [[nodiscard]] std::int32_t find(std::uint32_t path, bool writable) const noexcept {
    for (std::size_t i = files_.size(); i-- > 0;) {  // mostly the one opened last
      if (files_[i].path == path && files_[i].writable == writable) {
        return static_cast<std::int32_t>(i);
      }
    }
    return -1;
  }
  static Result<File> open_one(std::uint32_t path, const char* name, bool writable) noexcept;
  static bool serves(const File& file, const descriptor::VmaRecord& vma) noexcept;

  std::vector<File> files_;
  std::vector<std::int32_t> file_of_;  ///< by VMA: index in files_, or -1
  std::vector<std::uint32_t> carried_;
};

inline Result<MappedFiles::File> MappedFiles::open_one(std::uint32_t path, const char* name,
                                                       bool writable) noexcept {
  File file;
  file.path = path;
  file.writable = writable;
  const int mode = writable ? O_RDWR : O_RDONLY;
  UniqueFd fd(::open(name, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat is = {};
  if (!fd && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
    return Error(Errc::limit_exceeded, name, errno).in("open mapped files");
  }
  if (!fd || ::fstat(fd.get(), &is) != 0 || !S_ISREG(is.st_mode)) return file;
  struct statvfs where = {};
  file.no_exec = ::fstatvfs(fd.get(), &where) != 0 || (where.f_flag & ST_NOEXEC) != 0;
  file.size = static_cast<std::uint64_t>(is.st_size);
  file.mtime_ns = static_cast<std::uint64_t>(is.st_mtim.tv_sec) * 1'000'000'000u +
                  static_cast<std::uint64_t>(is.st_mtim.tv_nsec);
  file.fd = std::move(fd);
  return file;
}

inline bool MappedFiles::serves(const File& file, const descriptor::VmaRecord& vma) noexcept {
  if (!file.fd || (file.no_exec && (vma.prot & PROT_EXEC) != 0)) return false;
  // A shared mapping shows what the file is now, whatever that is.
  if (vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::shared_file)) return true;
  return file.size == vma.file_size && file.mtime_ns == vma.file_mtime_ns;
}

inline Result<MappedFiles> MappedFiles::open(const DescriptorView& view) {
  MappedFiles all;
  all.file_of_.assign(view.vmas().size(), -1);
  std::uint32_t index = 0;
  for (const descriptor::VmaRecord& vma : view.vmas()) {
    const std::uint32_t at = index++;
    if (!descriptor::is_file(vma.kind) || has_own_pages(vma)) continue;
    const bool writable =
        vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::shared_file) &&
        (vma.prot & PROT_WRITE) != 0;
    std::int32_t found = all.find(vma.path, writable);
    if (found < 0) {
      auto file = open_one(vma.path, view.string(vma.path), writable);
      if (!file) return file.error();
      found = static_cast<std::int32_t>(all.files_.size());
      all.files_.push_back(std::move(*file));
    }
    if (serves(all.files_[static_cast<std::size_t>(found)], vma)) {
      all.file_of_[at] = found;
    } else {
      all.carried_.push_back(at);
    }
  }
  return all;
}

}  // namespace mitosis::restore
