// SPDX-License-Identifier: MIT
// Pager: what a child's userfaultfd says, from read(2) to the engine. World: user. Included by
// pager.hpp only.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/pager.hpp>
#include <mitosis/fork/user/agent/proc_namespace.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mitosis::agent {

/// The kernel writes each event into the slot itself. It lets the child go on as it does so, and
/// finishes the write before a signal can end us: there is no moment at which a change of the
/// address space is known to nobody.
inline void Pager::read_events(ServedChild& entry) {
  ChildSlot& slot = *entry.slot;
  // Not until there are none: the threads of one child can make them as fast as they are read.
  for (int left = 64; left > 0 && !entry.ended; --left) {
    slot.pending_at = slot.log.count();
    if (!read_event(slot.uffd, slot.pending)) return;
    take_event(entry);
    slot.pending.event = 0;
    after(entry);
  }
}

inline void Pager::take_event(ServedChild& entry) {
  const uffd_msg& m = entry.slot->pending;
  const auto range = [](std::uint64_t start, std::uint64_t end) {
    return PageRange{page_of(start), (end - start) >> page_shift};
  };
  switch (m.event) {
    case UFFD_EVENT_PAGEFAULT:
      if (entry.slot->pid == 0) learn_pid(entry, m.arg.pagefault.feat.ptid);
      return entry.child->on_fault(page_of(m.arg.pagefault.address));
    case UFFD_EVENT_FORK:
      return adopt_fork(entry, static_cast<int>(m.arg.fork.ufd));
    case UFFD_EVENT_REMAP:
      return change(
          entry, {EventKind::moved, 0, range(m.arg.remap.from, m.arg.remap.from + m.arg.remap.len),
                  page_of(m.arg.remap.to)});
    case UFFD_EVENT_REMOVE:
      return change(entry,
                    {EventKind::removed, 0, range(m.arg.remove.start, m.arg.remove.end), {}});
    case UFFD_EVENT_UNMAP:
      return change(entry,
                    {EventKind::unmapped, 0, range(m.arg.remove.start, m.arg.remove.end), {}});
    default:
      return;
  }
}

/// A change that a later worker would have to know goes into the log.
inline void Pager::change(ServedChild& entry, const AddressSpaceEvent& event) {
  if (carry_out(entry, event)) (void)entry.slot->log.append(event);
}

/// Tells the engine; true where the change concerned pages that come from an ancestor.
inline bool Pager::carry_out(ServedChild& entry, const AddressSpaceEvent& event) {
  Errc failed = Errc::ok;
  const bool matters = entry.origin.apply(event, failed);
  switch (event.kind) {
    case EventKind::removed:
      entry.child->on_removed(event.range);
      break;
    case EventKind::unmapped:
      entry.child->on_unmapped(event.range);
      break;
    case EventKind::moved:
      entry.child->on_moved(event.range, event.to);
      break;
    case EventKind::none:
      break;
  }
  return matters || failed != Errc::ok;
}

/// The child has forked: the new process has a userfaultfd of its own, and all that is ours of the
/// parent. Until the event was read the parent was kept in fork(2), so both are at this point.
inline void Pager::adopt_fork(ServedChild& entry, int uffd) {
  const ChildSlot& from = *entry.slot;
  auto taken = table_.take_child(from.uid);
  const bool doomed = !taken;
  if (doomed) taken = take_past_share(entry, taken.error());
  // Without a pager the new process would read zeros. Closing is not an option either.
  if (!taken) return spdlog::error("no place for a forked process: it is left asleep");
  ChildSlot* const slot = *taken;
  slot->doomed = doomed ? 1 : 0;
  slot->uffd = uffd;
  slot->pidfd = -1;
  slot->pid = 0;
  slot->descriptor_fd = ::fcntl(from.descriptor_fd, F_DUPFD_CLOEXEC, 0);
  slot->cache_fd = from.cache_fd < 0 ? -1 : ::fcntl(from.cache_fd, F_DUPFD_CLOEXEC, 0);
  slot->cache_index_fd =
      from.cache_index_fd < 0 ? -1 : ::fcntl(from.cache_index_fd, F_DUPFD_CLOEXEC, 0);
  slot->pager = from.pager;
  slot->uid = from.uid;
  slot->poison = from.poison;
  slot->id = table_.next_id.fetch_add(1);
  slot->forked_from = from.id;
  slot->pid_namespace = from.pid_namespace;
  slot->started_ns = static_cast<std::uint64_t>(tcp::monotonic_now());
  slot->machine = from.machine;
  slot->handler = from.handler;
  slot->listed_as = from.listed_as;
  slot->generation = from.generation;
  std::memcpy(slot->policy, from.policy, sizeof slot->policy);
  std::memcpy(slot->carried, from.carried, sizeof slot->carried);
  slot->pending = {};
  slot->pages_total.store(from.pages_total.load());
  slot->log.reset();
  (void)slot->log.copy_from(from.log);  // an incomplete log says so to a later worker

  auto made = std::make_unique<ServedChild>();
  made->number = next_number_++;
  made->slot = slot;
  made->cache = entry.cache;
  made->memfd = entry.memfd;
  made->child = entry.child->fork(
      made->number, UserMemory(uffd, slot->poison != 0, entry.memfd, entry.cache.get()));
  (void)entry.origin.clone_into(made->origin);
  slot->state.store(static_cast<std::uint32_t>(SlotState::live), std::memory_order_release);
  ServedChild& kept = *made;
  entries_.emplace(kept.number, std::move(made));
  watch(kept);
  after(kept);
}

/// Whoever forks past his user's share is ended, or would do so for ever. The new process exists
/// and has no name yet; it is served until its first fault tells whom to end.
inline Result<ChildSlot*> Pager::take_past_share(ServedChild& entry, const Error& why) {
  spdlog::error("child {} of uid {} has forked and is ended: {}", entry.slot->pid, entry.slot->uid,
                describe(why));
  doom(entry);
  constexpr std::uint32_t root = 0;  // who has no share
  return table_.take_child(root);
}

inline void Pager::doom(ServedChild& entry) {
  entry.slot->doomed = 1;
  if (entry.slot->pidfd < 0) return;
  ::syscall(SYS_pidfd_send_signal, entry.slot->pidfd, SIGKILL, nullptr, 0);
}

/// Which process a thread belongs to; a forked process introduces itself by its first fault. The
/// kernel tells the thread's number as its own pid namespace has it.
inline void Pager::learn_pid(ServedChild& entry, std::uint32_t tid) {
  static const std::uint64_t ours = pid_namespace_of("self");
  if (const std::uint64_t theirs = entry.slot->pid_namespace; theirs != 0 && theirs != ours) {
    tid = process_in(theirs, tid);
    if (tid == 0) return;
  }
  char path[48];
  std::snprintf(path, sizeof path, "/proc/%u/status", tid);
  const UniqueFd status(::open(path, O_RDONLY | O_CLOEXEC));
  char text[512] = {};
  if (!status || ::read(status.get(), text, sizeof text - 1) <= 0) return;
  const char* tgid = std::strstr(text, "\nTgid:");
  if (tgid == nullptr) return;
  const auto pid = static_cast<std::uint32_t>(std::strtoul(tgid + 6, nullptr, 10));
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return;
  entry.slot->pid = pid;
  entry.slot->pidfd = pidfd;
  entry.child->memory().set_pidfd(pidfd);
  epoll_event event{EPOLLIN,
                    {.u64 = static_cast<std::uint64_t>(Source::pidfd) << 32 | entry.number}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pidfd, &event);
  if (entry.slot->doomed != 0) doom(entry);
}

}  // namespace mitosis::agent
