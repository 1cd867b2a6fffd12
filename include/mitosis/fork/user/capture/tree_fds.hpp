// SPDX-License-Identifier: MIT
// open_tree_files(): the open files of a tree of processes, each open file description once.
// World: user.
#pragma once

#include <mitosis/fork/user/capture/proc_fds.hpp>
#include <mitosis/mem/descriptor/check_process.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// A member of a tree, that must not run. Does not own `process`, an open /proc/PID.
struct TreeProcess {
  pid_t pid = 0;
  int process = -1;
  Span<const std::int32_t> skipped;  ///< descriptors that are not the program's
};

/// [0] is the root, whose list has all descriptions of the tree: behind its own numbers, above all
/// that any member uses, those that it has not. The other lists only name them.
struct TreeFiles {
  std::vector<std::vector<OpenFile>> of;
  std::vector<std::int32_t> first;  ///< from which number on they are a member's
};

namespace detail {

/// The same error, which says whose it is.
inline Error of_process(const Error& error, pid_t pid) {
  Error named(error.code, ("process " + std::to_string(pid) + ": ").c_str(), error.os_errno);
  named.subject.append(error.subject.c_str());
  return named.in(error.step.c_str());
}

/// The files of the target's present member. What no earlier member has is added to `all`.
inline Result<std::vector<OpenFile>> look_at_member(const Target& target, const Descriptors& fds,
                                                    std::vector<OpenFile>& all, std::int32_t& next,
                                                    SpareContent& spare) {
  std::vector<OpenFile> own;
  for (const std::int32_t number : fds.numbers) {
    Result<OpenFile> file = look_at(target, fds.directory.get(), number, all, spare);
    if (!file) return file.error();
    OpenFile name;
    name.fd = name.number = number;
    name.member = target.member();
    name.kind = descriptor::FileKind::inherited;
    if (file->kind == descriptor::FileKind::standard_stream) {  // it has not been asked yet
      if (Result<void> read = read_fdinfo(target, *file); !read) return read.error();
    }
    name.flags = file->flags;
    if (file->same_as < 0) {
      if (next > descriptor::max_fd) return refuse_file(*file, "one too many");
      file->fd = next++;
      name.offset = static_cast<std::uint64_t>(file->fd);
      all.push_back(std::move(*file));
    } else {
      name.offset = static_cast<std::uint64_t>(file->same_as);
    }
    own.push_back(std::move(name));
  }
  return own;
}

}  // namespace detail

/// As open_files(), of all members at once: what they share is there once, with its content, and
/// what connects them (a pipe's ends, a socket pair) is connected. Only the root's descriptors 0 to
/// 2 are its resumer's; a member's are so where they are the same as the root's. The target must
/// have the same members, and look at the root.
inline Result<TreeFiles> open_tree_files(Target& target, Span<const TreeProcess> members) {
  std::vector<detail::Descriptors> fds;
  std::int32_t next = 3;
  for (const TreeProcess& member : members) {
    Result<detail::Descriptors> list = detail::Descriptors::of(member.process);
    if (!list) return list.error();
    std::erase_if(list->numbers, [&member](std::int32_t fd) {
      return std::find(member.skipped.begin(), member.skipped.end(), fd) != member.skipped.end();
    });
    if (!list->numbers.empty()) next = std::max(next, list->numbers.back() + 1);
    fds.push_back(std::move(*list));
  }
  SpareContent spare;
  TreeFiles files;
  Result<std::vector<OpenFile>> all = detail::look_at_all(target, fds[0], {}, spare);
  if (!all) return all.error();
  files.of.emplace_back();
  files.first.push_back(0);
  for (std::size_t i = 1; i < members.size(); ++i) {
    target.turn_to(static_cast<std::uint32_t>(i));
    files.first.push_back(next);
    auto own = detail::look_at_member(target, fds[i], *all, next, spare);
    if (!own) return detail::of_process(own.error(), target.pid());
    files.of.push_back(std::move(*own));
  }
  for (OpenFile& file : *all) {
    if (file.kind == descriptor::FileKind::memory) continue;  // as open_files()
    if (Result<void> read = detail::read_payload(target, *all, file); !read) {
      return target.member() == 0 ? read.error() : detail::of_process(read.error(), target.pid());
    }
  }
  files.of[0] = std::move(*all);
  return files;
}

}  // namespace mitosis::capture
