// SPDX-License-Identifier: MIT
// check_parent: what a prepare takes, and that all else is refused by name.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <mitosis/base/describe.hpp>

#include <string>
#include <thread>

#include "capture_program.hpp"

namespace mitosis::capture {
namespace {

using descriptor::FileKind;
using test::Folder;
using test::StoppedProgram;

/// Checks a program that has done `setup`; the sentence that a user would read, or "".
std::string refusal(const std::function<void()>& setup) {
  const StoppedProgram program(setup);
  EXPECT_TRUE(program.stopped());
  const auto facts = check_parent(program.pid());
  return facts ? "" : describe(facts.error());
}

TEST(CheckParent, TakesAnOrdinaryProgram) {
  const StoppedProgram program([] { ::umask(027); });
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  EXPECT_EQ(facts->umask, 027u);
  EXPECT_EQ(facts->cwd, std::filesystem::current_path().string());
  EXPECT_GT(facts->memory_kib, 100u);
  for (const OpenFile& file : facts->files) EXPECT_EQ(file.kind, FileKind::standard_stream);
}

TEST(CheckParent, ReadsOpenFiles) {
  const Folder folder;
  const std::string path = folder.file("data");
  const StoppedProgram program([&] {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0600);  // 3
    (void)!::write(file, "hello", 5);
    (void)::dup(file);                                 // 4
    (void)::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // 5
    (void)::open("/tmp", O_RDONLY | O_DIRECTORY);      // 6
    (void)::open("/dev/null", O_WRONLY);               // 7
    (void)::dup2(1, 10);
  });
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  const auto find = [&](int fd) {
    for (const OpenFile& file : facts->files) {
      if (file.fd == fd) return file;
    }
    ADD_FAILURE() << "no descriptor " << fd;
    return OpenFile{};
  };
  EXPECT_EQ(find(3).path, path);
  EXPECT_EQ(find(3).offset, 5u);
  EXPECT_EQ(find(3).flags & (O_ACCMODE | O_APPEND), static_cast<unsigned>(O_RDWR | O_APPEND));
  EXPECT_EQ(find(3).same_as, -1);
  EXPECT_EQ(find(4).same_as, 3);
  EXPECT_EQ(find(5).same_as, -1);  // the same file, but opened on its own
  EXPECT_EQ(find(5).offset, 0u);
  EXPECT_NE(find(5).flags & O_CLOEXEC, 0u);
  EXPECT_EQ(find(6).kind, FileKind::directory);
  EXPECT_EQ(find(7).kind, FileKind::character_device);
  EXPECT_EQ(find(10).kind, FileKind::standard_stream);
  EXPECT_EQ(find(10).same_as, 1);
}

TEST(CheckParent, RefusesFilesByNumberAndKind) {
  const auto open_socket = [] { (void)::socket(AF_INET, SOCK_STREAM, 0); };
  EXPECT_NE(refusal(open_socket).find("descriptor 3 (socket:["), std::string::npos);
  EXPECT_NE(refusal(open_socket).find("is a socket"), std::string::npos);
  EXPECT_NE(refusal([] {
              int ends[2];
              (void)!::pipe(ends);
            }).find("is a pipe"),
            std::string::npos);
  EXPECT_NE(refusal([] { (void)::epoll_create1(0); }).find("descriptor 3 (anon_inode:[eventpoll])"),
            std::string::npos);
  EXPECT_NE(refusal([] { (void)::memfd_create("m", 0); }).find("is a memfd"), std::string::npos);
  EXPECT_NE(refusal([] { (void)::open("/tmp", O_PATH); }).find("opened with O_PATH"),
            std::string::npos);
  const Folder folder;
  const std::string path = folder.file("f");
  EXPECT_NE(refusal([&] {
              (void)::open(path.c_str(), O_RDWR | O_CREAT, 0600);
              (void)::unlink(path.c_str());
            }).find("is deleted"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              (void)::flock(::open(path.c_str(), O_RDWR | O_CREAT, 0600), LOCK_EX);
            }).find("locked"),
            std::string::npos);
}

TEST(CheckParent, SkipsTheConnectionsToAgents) {
  const StoppedProgram program([] { (void)::socket(AF_UNIX, SOCK_SEQPACKET, 0); });
  EXPECT_FALSE(check_parent(program.pid()).ok());
  const std::int32_t own[] = {3};
  const auto facts = check_parent(program.pid(), own);
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  for (const OpenFile& file : facts->files) EXPECT_LE(file.fd, 2);
}

TEST(CheckParent, RefusesThreads) {
  EXPECT_NE(refusal([] {
              std::thread([] { ::pause(); }).detach();
              std::thread([] { ::pause(); }).detach();
            }).find("3 threads"),
            std::string::npos);
}

TEST(CheckParent, RefusesMemoryThatIsShared) {
  EXPECT_NE(refusal([] {
              (void)::mmap(nullptr, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            }).find("shared anonymous memory"),
            std::string::npos);
  EXPECT_NE(refusal([] {
              const int id = ::shmget(IPC_PRIVATE, 4096, 0600);
              (void)::shmat(id, nullptr, 0);
              (void)::shmctl(id, IPC_RMID, nullptr);
            }).find("System V shared memory"),
            std::string::npos);
}

TEST(CheckParent, ReadsWhatTimersDo) {
  const StoppedProgram program([] {
    timer_t timer;
    sigevent event = {};
    event.sigev_notify = SIGEV_NONE;
    (void)::timer_create(CLOCK_MONOTONIC, &event, &timer);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR2;
    event.sigev_value.sival_ptr = reinterpret_cast<void*>(0x1234567);
    (void)::timer_create(CLOCK_REALTIME, &event, &timer);
  });
  const auto facts = check_parent(program.pid());
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  ASSERT_EQ(facts->timers.size(), 2u);
  EXPECT_EQ(facts->timers[0].notify, static_cast<std::uint32_t>(descriptor::TimerNotify::none));
  EXPECT_EQ(facts->timers[0].clock, CLOCK_MONOTONIC);
  EXPECT_EQ(facts->timers[1].id, 1);
  EXPECT_EQ(facts->timers[1].signal, static_cast<std::uint32_t>(SIGUSR2));
  EXPECT_EQ(facts->timers[1].value, 0x1234567u);
}

TEST(CheckParent, RefusesTimersThatCannotBeMadeAgain) {
  EXPECT_NE(refusal([] {
              timer_t timer;
              clockid_t clock;
              sigevent event = {};
              event.sigev_notify = SIGEV_NONE;
              (void)::clock_getcpuclockid(::getppid(), &clock);
              (void)::timer_create(clock, &event, &timer);
            }).find("POSIX timer 0 runs on the clock of"),
            std::string::npos);
}

TEST(CheckParent, RefusesSignalsWhoseValueNobodyKnows) {
  EXPECT_NE(refusal([] {
              sigset_t all;
              sigfillset(&all);
              (void)::sigprocmask(SIG_SETMASK, &all, nullptr);
              (void)::sigqueue(::getpid(), SIGRTMIN + 4, {.sival_int = 7});
            }).find("is pending, and its value cannot be read"),
            std::string::npos);
}

TEST(CheckParent, RefusesSeccompAndTracers) {
  EXPECT_NE(refusal([] {
              sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
              const sock_fprog program = {1, &allow};
              (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
              (void)::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
            }).find("seccomp (mode 2)"),
            std::string::npos);
  EXPECT_NE(refusal([] { (void)::ptrace(PTRACE_TRACEME, 0, 0, 0); }).find("traces it"),
            std::string::npos);
}

TEST(CheckParent, RefusesADeletedWorkingDirectory) {
  const Folder folder;
  EXPECT_NE(refusal([&] {
              const std::string path = folder.file("d");
              (void)::mkdir(path.c_str(), 0700);
              (void)!::chdir(path.c_str());
              (void)::rmdir(path.c_str());
            }).find("working directory is deleted"),
            std::string::npos);
}

TEST(CheckParent, ChildProcessesAreNoObstacle) {
  EXPECT_EQ(refusal([] {
              const pid_t parent = ::getpid();
              if (::fork() == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (::getppid() == parent) ::pause();  // else it has died before the prctl
                ::_exit(0);
              }
            }),
            "");
}

TEST(CheckParent, AProcessThatIsGoneIsAnError) {
  EXPECT_EQ(check_parent(0).code(), Errc::unsupported_process);
  EXPECT_EQ(check_parent(0x3fffffff).code(), Errc::unsupported_process);
}

}  // namespace
}  // namespace mitosis::capture
