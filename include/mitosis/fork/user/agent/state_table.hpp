// SPDX-License-Identifier: MIT
// StateTable: what the agent must not forget when its worker dies, in memory that keeper and
// worker share. World: user.
// It names file descriptors by number: keeper and worker share one descriptor table
// (clone(CLONE_FILES)), so that a userfaultfd stays open, and its child asleep rather than reading
// silent zeros, while no worker lives.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/event_log.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace mitosis::agent {

/// A slot is owned by whoever took it from `empty`; only `live` ones are taken over.
enum class SlotState : std::uint32_t { empty = 0, filling = 1, live = 2 };

/// A resumed child, or a process forked from one. Descriptor numbers are -1 where there is none.
struct ChildSlot {
  std::atomic<std::uint32_t> state;
  std::uint32_t pager;  ///< index of the pager thread that serves it
  std::int32_t uffd;
  std::int32_t pidfd;
  std::int32_t descriptor_fd;             ///< memfd with the descriptor's bytes; one a child
  std::int32_t cache_fd, cache_index_fd;  ///< Cache<Local>: pages and presence; the registry's own
  std::uint32_t pid;                      ///< 0 until known (a forked process's first fault tells)
  std::uint32_t uid;                      ///< who may see and end it
  std::uint32_t poison;                   ///< UFFDIO_POISON is there
  std::uint32_t doomed;                   ///< forked past its user's share: to be ended
  std::uint64_t id;                       ///< grows; names the child in `ps`
  std::uint64_t forked_from;              ///< id, 0 for a resumed child
  std::uint64_t pid_namespace;            ///< of pid_namespace_of(); 0: not known
  std::uint64_t started_ns;               ///< CLOCK_MONOTONIC
  MachineId machine;                      ///< of the parent
  HandlerId handler;
  HandlerId listed_as;  ///< in `ps`: of a tree's member its root's
  Generation generation;
  char policy[64];
  /// VMAs (by index) whose file is not the same on this machine: their pages are fetched.
  std::uint64_t carried[64];
  static constexpr std::size_t max_carried = sizeof carried * 8;

  /// The kernel writes an event here as it is read: once it is read the child goes on, so it must
  /// be kept from that very moment. `pending_at` is the log's count when it was empty.
  uffd_msg pending;
  std::uint32_t pending_at;
  EventLog log;

  std::atomic<std::uint64_t> pages_total, pages_fetched, bytes_fetched, faults, cached, zeros,
      fallbacks;
};

/// What all children that have ended did, since the agent's start.
struct EndedChildren {
  std::atomic<std::uint64_t> count, faults, pages_fetched, bytes_fetched, cached, fallbacks;

  void add(const ChildSlot& child) noexcept {
    count.fetch_add(1, std::memory_order_relaxed);
    faults.fetch_add(child.faults.load(), std::memory_order_relaxed);
    pages_fetched.fetch_add(child.pages_fetched.load(), std::memory_order_relaxed);
    bytes_fetched.fetch_add(child.bytes_fetched.load(), std::memory_order_relaxed);
    cached.fetch_add(child.cached.load(), std::memory_order_relaxed);
    fallbacks.fetch_add(child.fallbacks.load(), std::memory_order_relaxed);
  }
};

/// A prepared parent of this machine, once it is captured.
struct ParentSlot {
  std::atomic<std::uint32_t> state;
  std::uint32_t uid;
  std::uint32_t pid;         ///< of the parent itself
  std::uint32_t shadow_pid;  ///< 0 with Cow<Off>, once copied
  std::int32_t parent_pidfd, shadow_pidfd, lifeline, descriptor_fd, image_fd, shared_fd;
  std::uint32_t flags;  ///< local::PrepareFlag
  Generation of_tree;   ///< as Parent::of_tree
  HandlerId handler;
  Generation generation;
  AuthKey key;
  TargetName target;
  std::uint64_t prepared_ns;
  std::uint64_t image_offset;  ///< in image_fd; `whole_file`: all of that is the image
  std::uint64_t image_bytes;   ///< from there on
  char policy[64];
  static constexpr std::uint64_t whole_file = ~std::uint64_t{0};
};

inline constexpr std::size_t max_children = 16384;
inline constexpr std::size_t max_parents = 4096;
/// Of one user other than root, so that no user can keep the others out.
inline constexpr std::size_t max_children_of_a_user = max_children / 4;
inline constexpr std::size_t max_parents_of_a_user = max_parents / 4;

/// The whole of it. Lives in a shared anonymous mapping made by the keeper before it clones the
/// first worker; untouched slots cost nothing.
struct StateTable {
  std::atomic<std::uint64_t> next_id;
  std::atomic<std::uint64_t> next_generation;  ///< drawn at random at the start of the agent
  std::atomic<std::uint32_t> worker_starts;
  std::atomic<std::int32_t> worker_pid;  ///< as the worker itself says; 0 until it does
  std::atomic<std::uint32_t> ended;      ///< a worker has ended all children in order
  std::atomic<std::uint32_t> port;       ///< where other machines reach the agent, once it listens
  /// When a worker last gave up its RDMA device (monotonic, ns); 0: none has.
  std::atomic<std::uint64_t> device_failed_at;
  std::atomic<std::uint32_t> next_free_child;  ///< where the search for a free slot begins
  EndedChildren ended_children;
  ParentSlot parents[max_parents];
  /// Whose a child's slot is, as its uid + 1; 0: nobody's. Apart from the slots, to count quickly.
  std::atomic<std::uint64_t> child_of[max_children];
  ChildSlot children[max_children];

  /// Maps a zeroed table, which lives until the process and all its clones are gone.
  static Result<StateTable*> create() noexcept {
    void* at = ::mmap(nullptr, sizeof(StateTable), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return Error(Errc::out_of_memory, "the agent's state table", errno);
    return static_cast<StateTable*>(at);  // zero bytes are a valid, empty table
  }

  /// Takes an empty slot (state becomes `filling`) for a child of that user. limit_exceeded where
  /// all are taken, or the user has his share; callers at the same instant may exceed it by one
  /// each.
  Result<ChildSlot*> take_child(std::uint32_t uid) noexcept {
    const std::uint64_t owner = std::uint64_t{uid} + 1;
    if (uid != 0 && children_of(owner) >= max_children_of_a_user) {
      return Error(Errc::limit_exceeded,
                   "this user has 4096 children on this machine, his share; end some of them");
    }
    const std::uint32_t from = next_free_child.fetch_add(1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < max_children; ++i) {
      const std::size_t at = (from + i) % max_children;
      if (!take(children[at].state)) continue;
      child_of[at].store(owner, std::memory_order_relaxed);
      return &children[at];
    }
    return Error(Errc::limit_exceeded, "16384 children run on this machine; end some of them");
  }
  /// Makes a taken slot empty again; what it names has been closed.
  void release(ChildSlot& slot) noexcept {
    child_of[&slot - children].store(0, std::memory_order_relaxed);
    slot.state.store(static_cast<std::uint32_t>(SlotState::empty), std::memory_order_release);
  }
  /// Whether a live child has that userfaultfd: two would each hear half of what its process does.
  [[nodiscard]] bool has_child_with(int uffd) const noexcept {
    for (const ChildSlot& slot : children) {
      if (slot.state.load() == static_cast<std::uint32_t>(SlotState::live) && slot.uffd == uffd) {
        return true;
      }
    }
    return false;
  }
  /// Makes the slot of a worker that died while it filled or emptied it empty again. The numbers in
  /// it name nothing any more: its descriptors are closed with all others that no slot names.
  void forget(ChildSlot& slot) noexcept {
    slot.log = EventLog{};
    slot.pending = {};
    release(slot);
  }
  ParentSlot* take_parent() noexcept {
    for (ParentSlot& slot : parents) {
      if (take(slot.state)) return &slot;
    }
    return nullptr;
  }

 private:
  std::size_t children_of(std::uint64_t owner) const noexcept {
    std::size_t count = 0;
    for (const auto& each : child_of) count += each.load(std::memory_order_relaxed) == owner;
    return count;
  }
  static bool take(std::atomic<std::uint32_t>& state) noexcept {
    auto expected = static_cast<std::uint32_t>(SlotState::empty);
    return state.load(std::memory_order_relaxed) == expected &&
           state.compare_exchange_strong(expected, static_cast<std::uint32_t>(SlotState::filling));
  }
};
static_assert(max_children_of_a_user == 4096 && max_children == 16384, "take_child says so");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

}  // namespace mitosis::agent
