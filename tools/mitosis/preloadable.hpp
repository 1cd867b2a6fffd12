// SPDX-License-Identifier: MIT
// check_preloadable(): whether the dynamic linker would load a library into a program first.
// World: user. It would not where there is none (a static program), and does not where the program
// gains rights at exec (ld.so(8), "secure-execution mode"); it never says so.
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace mitosis::tools {

namespace detail {

/// An error about one program, which a user must be able to tell from its interpreter.
inline Error not_preloadable(const std::string& path, const char* why, int err = 0) {
  return Error(err == 0 ? Errc::invalid_argument : Errc::system_call_failed, (path + why).c_str(),
               err)
      .in("preload the device");
}

/// The file's first bytes, as far as there are any, zeros after them.
template <class T>
T read_at(int fd, off_t at) noexcept {
  T value = {};
  (void)!::pread(fd, &value, sizeof value, at);
  return value;
}

inline bool has_interpreter(int fd, const Elf64_Ehdr& header) noexcept {
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const off_t at = static_cast<off_t>(header.e_phoff) + off_t{i} * header.e_phentsize;
    if (read_at<Elf64_Phdr>(fd, at).p_type == PT_INTERP) return true;
  }
  return false;
}

/// "/usr/bin/env" of "#!/usr/bin/env python3"; empty where the file is no script.
inline std::string interpreter_of_script(int fd) {
  char line[256] = {};  // as much as execve(2) looks at
  (void)!::pread(fd, line, sizeof line - 1, 0);
  if (line[0] != '#' || line[1] != '!') return {};
  const char* const name = line + 2 + std::strspn(line + 2, " \t");
  return {name, std::strcspn(name, " \t\n")};
}

}  // namespace detail

/// Refuses, by name: what cannot be read, a 32-bit, static, set-uid or set-gid program, one with
/// file capabilities. Of a script its interpreter counts. `depth`: scripts of scripts, as execve.
inline Result<void> check_preloadable(const std::string& path, int depth = 0) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat is = {};
  if (!file || ::fstat(file.get(), &is) != 0) return detail::not_preloadable(path, "", errno);
  if (const std::string script = detail::interpreter_of_script(file.get()); !script.empty()) {
    if (depth == 4) return detail::not_preloadable(path, ": scripts nested too deeply");
    return check_preloadable(script, depth + 1);
  }
  const auto header = detail::read_at<Elf64_Ehdr>(file.get(), 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return detail::not_preloadable(path, " is neither an ELF program nor a script");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64) {
    return detail::not_preloadable(path, " is a 32-bit program; only 64-bit ones can be prepared");
  }
  if (!detail::has_interpreter(file.get(), header)) {
    return detail::not_preloadable(path,
                                   " is statically linked, so no library can stand in for the "
                                   "device; link it dynamically, or with libmitosis");
  }
  const bool set_uid = (is.st_mode & S_ISUID) != 0 && is.st_uid != ::getuid();
  const bool set_gid = (is.st_mode & S_ISGID) != 0 && is.st_gid != ::getgid();
  if (set_uid || set_gid) {
    return detail::not_preloadable(path,
                                   set_uid ? " is set-uid, so the dynamic linker preloads nothing "
                                             "into it; run it as its owner"
                                           : " is set-gid, so the dynamic linker preloads nothing "
                                             "into it; run it as its group");
  }
  if (::getuid() != 0 && ::fgetxattr(file.get(), "security.capability", nullptr, 0) > 0) {
    return detail::not_preloadable(
        path, " has file capabilities, so the dynamic linker preloads nothing into it");
  }
  return {};
}

}  // namespace mitosis::tools
