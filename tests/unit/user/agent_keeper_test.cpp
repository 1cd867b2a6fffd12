// SPDX-License-Identifier: MIT
// The keeper: a dead worker's descriptors survive, a new one goes on; spawned processes are told
// of, with their exit status; a told stop ends everything.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <mitosis/fork/user/agent/keeper.hpp>
#include <mitosis/fork/user/agent/spawner.hpp>

#include <new>

namespace mitosis::agent {
namespace {

constexpr auto live = static_cast<std::uint32_t>(SlotState::live);

/// Waits for a keeper that runs in a process of its own; its exit status, or -1 after 10 s.
int run_keeper(StateTable& table, const Keeper::WorkerMain& worker,
               const Keeper::ChildMain& child) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(20);
    spdlog::set_level(spdlog::level::off);
    Keeper keeper(table, worker, child);
    auto status = keeper.run();
    ::_exit(status ? *status : 99);
  }
  int status = 0;
  for (int i = 0; i < 1000; ++i) {
    if (::waitpid(pid, &status, WNOHANG) == pid)
      return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    pollfd none{};
    ::poll(&none, 0, 10);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return -1;
}

StateTable& fresh_table() {
  auto table = StateTable::create();
  EXPECT_TRUE(table.ok());
  return **table;
}

TEST(Keeper, ANewWorkerFindsTheDescriptorsThatTheTableNames) {
  StateTable& table = fresh_table();
  const int status = run_keeper(
      table,
      [](StateTable& t, int) {
        ChildSlot& slot = t.children[0];
        if (t.worker_starts.load() == 1) {
          const int kept = ::memfd_create("kept", MFD_CLOEXEC);
          const int lost = ::memfd_create("lost", MFD_CLOEXEC);
          if (::write(kept, "pages", 5) != 5) return 10;
          slot.uffd = kept;
          slot.pidfd = slot.descriptor_fd = slot.cache_fd = slot.cache_index_fd = -1;
          slot.pid = static_cast<std::uint32_t>(lost);  // only to tell the next worker its number
          slot.state.store(live);
          ::kill(::getpid(), SIGKILL);
        }
        char text[6] = {};
        if (::pread(slot.uffd, text, 5, 0) != 5 || std::string(text) != "pages") return 11;
        if (::fcntl(static_cast<int>(slot.pid), F_GETFD) != -1) return 12;  // a leak
        return 42;
      },
      [](const SpawnOrder&) { return 0; });
  EXPECT_EQ(status, 42);
}

// Else the slot's next owner would close, by its number, the userfaultfd of somebody else.
TEST(Keeper, ASlotThatADeadWorkerWasFillingNamesNothingAnyMore) {
  StateTable& table = fresh_table();
  const int status = run_keeper(
      table,
      [](StateTable& t, int) {
        if (t.worker_starts.load() == 1) {
          ChildSlot& slot = **t.take_child(0);
          for (std::uint32_t i = 0; i <= EventLog::head_events; ++i) {
            if (slot.log.append({EventKind::removed, 0, {PageNumber{i}, 1}, {}}) != Errc::ok) {
              return 10;
            }
          }
          slot.pending.event = UFFD_EVENT_FORK;
          ::kill(::getpid(), SIGKILL);
        }
        for (ChildSlot& slot : t.children) {
          if (slot.log.spill_fd() != 0 || slot.pending.event != 0) return 11;
          if (slot.state.load() != static_cast<std::uint32_t>(SlotState::empty)) return 12;
        }
        return 42;
      },
      [](const SpawnOrder&) { return 0; });
  EXPECT_EQ(status, 42);
}

TEST(StateTable, KnowsWhichUserfaultfdsAreServed) {
  StateTable& table = fresh_table();
  ChildSlot& slot = **table.take_child(0);
  slot.uffd = 7;
  EXPECT_FALSE(table.has_child_with(7)) << "it is only being filled";
  slot.state.store(live);
  EXPECT_TRUE(table.has_child_with(7));
  EXPECT_FALSE(table.has_child_with(8));
}

TEST(Keeper, AWorkerThatDiesForEverIsGivenUp) {
  StateTable& table = fresh_table();
  const int status = run_keeper(
      table, [](StateTable&, int) { return ::kill(::getpid(), SIGKILL); },
      [](const SpawnOrder&) { return 0; });
  EXPECT_EQ(status, 1);
  EXPECT_EQ(table.worker_starts.load(), static_cast<std::uint32_t>(Keeper::max_deaths));
}

TEST(Keeper, SpawnedProcessesAreToldOfWithTheirStatus) {
  StateTable& table = fresh_table();
  const int status = run_keeper(
      table,
      [](StateTable& t, int orders) {
        Spawner spawner(orders, t.worker_starts.load());
        int pair[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return 20;
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        SpawnOrder order;
        for (int& fd : order.stdio) fd = null;
        order.channel = pair[1];
        order.handler = HandlerId{77};
        std::mutex mutex;
        std::condition_variable changed;
        int exit_status = -1;
        auto process = spawner.spawn(order, [&](int, int s) {
          const std::lock_guard lock(mutex);
          exit_status = s;
          changed.notify_all();
        });
        if (!process || process->pid <= 0 || !process->pidfd) return 21;
        char text[16] = {};
        if (::recv(pair[0], text, sizeof text, 0) != 2 || std::string(text) != "77") return 22;
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, std::chrono::seconds(5), [&] { return exit_status >= 0; })) {
          return 23;
        }
        return WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 7 ? 42 : 24;
      },
      [](const SpawnOrder& order) {
        const std::string text = std::to_string(static_cast<std::uint64_t>(order.handler));
        (void)!::write(order.channel, text.data(), text.size());
        return 7;
      });
  EXPECT_EQ(status, 42);
}

TEST(Keeper, WhenItIsKilledTheWorkerIsToldToStop) {
  StateTable& table = fresh_table();
  int pair[2];
  ASSERT_EQ(::pipe2(pair, O_CLOEXEC), 0);
  const pid_t keeper = ::fork();
  if (keeper == 0) {
    ::close(pair[0]);
    Keeper k(
        table,
        [&](StateTable&, int) {
          sigset_t term;
          sigemptyset(&term);
          sigaddset(&term, SIGTERM);
          (void)!::write(pair[1], "r", 1);
          const timespec limit{5, 0};
          const bool told = ::sigtimedwait(&term, nullptr, &limit) == SIGTERM;
          (void)!::write(pair[1], told ? "t" : "x", 1);
          return 0;
        },
        [](const SpawnOrder&) { return 0; });
    (void)k.run();
    ::_exit(0);
  }
  ::close(pair[1]);
  char byte = 0;
  ASSERT_EQ(::read(pair[0], &byte, 1), 1);
  ::kill(keeper, SIGKILL);
  ASSERT_EQ(::waitpid(keeper, nullptr, 0), keeper);
  ASSERT_EQ(::read(pair[0], &byte, 1), 1);
  EXPECT_EQ(byte, 't');
  ::close(pair[0]);
}

}  // namespace
}  // namespace mitosis::agent
