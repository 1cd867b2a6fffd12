// SPDX-License-Identifier: MIT
// Files: what the child will have open, opened by the launcher ahead of time. World: user.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <mitosis/fork/user/restore/fd_room.hpp>
#include <mitosis/fork/user/restore/open_file.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::restore {

/// One descriptor number of the child. At most one of `opened` and `same_as` is set; neither: the
/// launcher's own descriptor of that number stays.
struct PlacedFile {
  int fd = -1;
  UniqueFd opened;
  int same_as = -1;  ///< an earlier number with the same open file description
  bool close_on_exec = false;
  [[nodiscard]] bool is_launchers() const noexcept { return !opened && same_as < 0; }
};

/// The child's descriptors, ascending, and its working directory.
struct Files {
  std::vector<PlacedFile> placed;
  UniqueFd cwd;  ///< none: the descriptor names none, the launcher's stays
};

/// Opens everything with the caller's identity, above the child's numbers.
inline Result<Files> open_files(const DescriptorView& view, const FdRoom& room) {
  Files files;
  files.placed.reserve(view.files().size());
  for (const descriptor::FileRecord& record : view.files()) {
    PlacedFile file;
    file.fd = record.fd;
    file.close_on_exec = (record.flags & O_CLOEXEC) != 0;
    if (record.fd <= STDERR_FILENO &&
        descriptor::FileKind{record.kind} == descriptor::FileKind::standard_stream) {
      // The launcher's own, even where the parent had two of them share a description.
    } else if (record.same_as >= 0) {
      file.same_as = record.same_as;
    } else {
      const char* path = view.string(record.path);
      auto opened = open_file(record, path);
      if (!opened) return opened.error();
      auto raised = room.raise(std::move(*opened), path);
      if (!raised) return raised.error();
      file.opened = std::move(*raised);
    }
    files.placed.push_back(std::move(file));
  }
  if (const char* cwd = view.string(view.mm().cwd); *cwd != '\0') {
    UniqueFd fd(::open(cwd, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return Error(Errc::file_missing, cwd, errno).in("open the working directory");
    files.cwd = std::move(fd);
  }
  return files;
}

}  // namespace mitosis::restore
