// SPDX-License-Identifier: MIT
// open_pipe(): a pipe of the child's own, or a FIFO by its path. World: user.
#pragma once

#include <mitosis/fork/user/files/pipe.hpp>
#include <mitosis/fork/user/restore/files/opening.hpp>

namespace mitosis::restore {

namespace detail {

/// Makes the pipe of `first`, with its content.
inline Result<Opening::Ends> make_pipe(const Opening& opening,
                                       const descriptor::FileRecord& first) {
  const auto pipe = payload_of<files::Pipe>(opening, first);
  if (!pipe) return pipe.error();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return cannot_make(first, "pipe2", errno);
  Opening::Ends made{UniqueFd(ends[0]), UniqueFd(ends[1])};
  const int capacity = static_cast<int>(pipe->capacity);
  if (capacity != 0 && ::fcntl(ends[1], F_GETPIPE_SZ) != capacity &&
      ::fcntl(ends[1], F_SETPIPE_SZ, capacity) < 0) {
    return cannot_make(first, "a pipe of its capacity (fs.pipe-max-size)", errno);
  }
  if (pipe->packets && ::fcntl(ends[1], F_SETFL, O_DIRECT | O_NONBLOCK) != 0) {
    return cannot_make(first, "packet mode", errno);
  }
  for (const files::Chunk& chunk : pipe->content) {
    const ssize_t n = ::write(ends[1], chunk.bytes.data(), chunk.bytes.size());
    if (n < 0 || static_cast<std::size_t>(n) != chunk.bytes.size()) {
      return cannot_make(first, "a pipe that holds its content", n < 0 ? errno : 0);
    }
  }
  return made;
}

/// Never waits for the other end.
inline Result<UniqueFd> open_fifo(const descriptor::FileRecord& file, const char* path) {
  const UniqueFd found(::open(path, O_PATH | O_CLOEXEC));
  struct stat is = {};
  if (!found || ::fstat(found.get(), &is) != 0) return cannot_make(file, path, errno);
  if (!S_ISFIFO(is.st_mode))
    return cannot_make(file, (std::string(path) + " is no FIFO here").c_str(), 0);
  // A writer needs a reader for a moment.
  const std::string self = "/proc/self/fd/" + std::to_string(found.get());
  const UniqueFd both(::open(self.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  UniqueFd fd = open_again(found.get(), file);
  if (!fd) return cannot_make(file, path, errno);
  return fd;
}

}  // namespace detail

inline Result<UniqueFd> open_pipe(Opening& opening, const descriptor::FileRecord& file) {
  const auto pipe = payload_of<files::Pipe>(opening, file);
  if (!pipe) return pipe.error();
  UniqueFd fd;
  if (const char* path = opening.view.string(file.path); *path != '\0') {
    auto fifo = detail::open_fifo(file, path);
    if (!fifo) return fifo.error();
    fd = std::move(*fifo);
  } else {
    auto at = opening.pipes.find(pipe->first);
    if (at == opening.pipes.end()) {
      const auto first = opening.record(pipe->first, descriptor::FileKind::pipe);
      if (!first) return bad_payload(file, "of a pipe that is not there");
      auto made = detail::make_pipe(opening, *first);
      if (!made) return made.error();
      at = opening.pipes.emplace(pipe->first, std::move(*made)).first;
    }
    fd = open_again(at->second.read.get(), file);
    if (!fd) return cannot_make(file, "a pipe", errno);
  }
  if (Result<void> set = set_flags(fd.get(), file, pipe->async); !set) return set.error();
  return fd;
}

}  // namespace mitosis::restore
