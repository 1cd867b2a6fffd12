// SPDX-License-Identifier: MIT
// check_tree: may a process be prepared together with those that it has made, and what must be read
// of them while all stand still. World: user.
#pragma once

#include <sys/stat.h>

#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/capture/tree_fds.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// A member, and who holds its threads.
struct HeldProcess {
  pid_t pid = 0, tracer = 0;
  std::vector<std::int32_t> own_fds;  ///< as of check_parent()
};

struct TreeFacts {
  /// [0] is the root's: its files and its shared memory are those of all. The others name them.
  std::vector<ParentFacts> of;
  std::vector<std::int32_t> first_file;  ///< as TreeFiles::first
};

namespace detail {

/// A child has its launcher's namespaces but for the numbers: all members must share theirs.
inline Result<void> check_namespaces(int root, int member) {
  for (const char* name : {"ns/net", "ns/mnt", "ns/pid", "ns/user", "ns/ipc", "root"}) {
    struct stat a = {}, b = {};
    if (::fstatat(root, name, &a, 0) == 0 && ::fstatat(member, name, &b, 0) == 0 &&
        a.st_ino == b.st_ino && a.st_dev == b.st_dev) {
      continue;
    }
    return refuse(std::string("it has another ") + name + " than the tree's root");
  }
  return {};
}

}  // namespace detail

/// As check_parent, for the whole tree; [0] is the root. All must be held.
/// `lossy`: what of their open files cannot be captured is left out.
inline Result<TreeFacts> check_tree(Span<const HeldProcess> members, std::uint64_t shared_budget,
                                    bool lossy = false) {
  std::vector<UniqueFd> directories;
  std::vector<TreeProcess> processes;
  TreeFacts tree;
  // That it is the root's goes without saying.
  const auto of = [root = members[0].pid](const Error& error, pid_t pid) {
    return pid == root ? error : detail::of_process(error, pid);
  };
  for (const HeldProcess& member : members) {
    auto process = open_process(member.pid);
    if (!process) return of(process.error(), member.pid);
    ParentFacts facts;
    auto ok = detail::check_process(member.pid, process->get(), {true, member.tracer}, facts);
    if (ok && !directories.empty()) {
      ok = detail::check_namespaces(directories[0].get(), process->get());
    }
    if (ok) ok = detail::read_locked(process->get(), facts);
    if (!ok) return of(ok.error(), member.pid);
    processes.push_back({member.pid, process->get(), member.own_fds});
    directories.push_back(std::move(*process));
    tree.of.push_back(std::move(facts));
  }
  Target target(processes[0].pid, processes[0].process);
  for (std::size_t i = 1; i < processes.size(); ++i) {
    target.add(processes[i].pid, processes[i].process);
  }
  if (lossy) target.drop_into(&tree.of[0].dropped);
  Result<TreeFiles> files = open_tree_files(target, processes);
  if (!files) return files.error();
  tree.first_file = std::move(files->first);

  SharedMemory& shared = tree.of[0].shared;
  for (const TreeProcess& member : processes) {
    if (Result<void> ok = add_shared_mappings(member.process, shared); !ok) {
      return of(ok.error(), member.pid);
    }
  }
  if (Result<void> ok = shared.copy(shared_budget); !ok) return ok.error();
  if (Result<void> ok = read_memories(target, files->of[0], shared); !ok) return ok.error();
  for (std::size_t i = 0; i < tree.of.size(); ++i) {
    tree.of[i].files = std::move(files->of[i]);
    if (i > 0) tree.of[i].shared = shared.names();
  }
  return tree;
}

}  // namespace mitosis::capture
