// SPDX-License-Identifier: MIT
// read_pipe(): a pipe or FIFO, and what is in it. World: user.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/files/async.hpp>
#include <mitosis/fork/user/files/payload.hpp>
#include <mitosis/fork/user/files/pipe.hpp>

#include <algorithm>

namespace mitosis::capture {

namespace detail {

/// The content of the pipe whose reading end `from` is, without taking it out: tee(2).
inline Result<void> copy_pipe(Target& target, const OpenFile& file, int from, files::Pipe& pipe) {
  int waiting = 0;
  if (::ioctl(from, FIONREAD, &waiting) != 0 || waiting <= 0) return {};
  if (Result<void> fits = target.carry(static_cast<std::uint64_t>(waiting)); !fits) return fits;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return Error(Errc::system_call_failed, "pipe2", errno).in("check open files");
  }
  const UniqueFd out(ends[0]), in(ends[1]);
  (void)::fcntl(in.get(), F_SETPIPE_SZ, pipe.capacity);
  const ssize_t copied =
      ::tee(from, in.get(), static_cast<std::size_t>(waiting), SPLICE_F_NONBLOCK);
  if (copied != waiting) return refuse_file(file, "a pipe whose content cannot be copied");
  // A read ends with a packet, so packets come one by one.
  for (std::size_t left = static_cast<std::size_t>(waiting); left > 0;) {
    files::Chunk chunk;
    chunk.bytes.resize(left);
    const ssize_t n = ::read(out.get(), chunk.bytes.data(), left);
    if (n <= 0) return refuse_file(file, "a pipe whose content cannot be copied");
    chunk.bytes.resize(static_cast<std::size_t>(n));
    left -= static_cast<std::size_t>(n);
    pipe.content.push_back(std::move(chunk));
  }
  return {};
}

}  // namespace detail

/// Both ends in the process: it gets a pipe of its own, with the content. One end: a FIFO is opened
/// again, a pipe that nobody else holds stays ended; else it is refused.
inline Result<void> read_pipe(Target& target, const std::vector<OpenFile>& all, OpenFile& file) {
  files::Pipe pipe;
  const OpenFile* reader = nullptr;
  bool writes = false;
  for (const OpenFile& other : all) {
    if (other.kind != file.kind || other.inode != file.inode || other.device != file.device) {
      continue;
    }
    if (pipe.first < 0) pipe.first = other.fd;
    if (reader == nullptr && (other.flags & O_ACCMODE) != O_WRONLY) reader = &other;
    if ((other.flags & O_ACCMODE) != O_RDONLY) {
      writes = true;
      pipe.packets |= (other.flags & O_DIRECT) != 0;
    }
  }
  Result<UniqueFd> copy = target.duplicate(file);
  if (!copy) return copy.error();
  Result<files::Async> async = read_async(target, file, copy->get());
  if (!async) return async.error();
  pipe.async = *async;
  pipe.capacity = static_cast<std::uint32_t>(std::max(0, ::fcntl(copy->get(), F_GETPIPE_SZ)));
  if (reader == nullptr || !writes) {
    pollfd other_end = {copy->get(), POLLIN | POLLOUT, 0};
    (void)::poll(&other_end, 1, 0);
    if ((other_end.revents & (reader == nullptr ? POLLERR : POLLHUP)) == 0) {
      if (!file.path.starts_with('/') || file.path.ends_with(deleted_suffix)) {
        return refuse_file(file, fmt::format("a pipe whose other end is in another process; close "
                                             "it before ({}{}&-), or leave it out with --lossy",
                                             file.number, reader == nullptr ? '>' : '<'));
      }
      file.data = files::encode(pipe);  // it has a path, and is opened by it
      return {};
    }
  }
  file.path.clear();
  if (pipe.first == file.fd && reader != nullptr) {
    Result<UniqueFd> from = target.duplicate(*reader);
    if (!from) return from.error();
    if (Result<void> ok = detail::copy_pipe(target, file, from->get(), pipe); !ok) return ok;
  }
  file.data = files::encode(pipe);
  return {};
}

}  // namespace mitosis::capture
