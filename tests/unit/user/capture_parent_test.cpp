// SPDX-License-Identifier: MIT
// check_parent: what a prepare takes, and that all else is refused by name.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/capture/files/dropped.hpp>

#include <string>
#include <thread>

#include "capture_program.hpp"

namespace mitosis::capture {
namespace {

using descriptor::FileKind;
using test::Folder;
using test::refusal;
using test::StoppedProgram;

/// A second process that has all of the program's files open.
void hold_in_another_process() {
  const pid_t parent = ::getpid();
  if (::fork() != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() == parent) ::pause();  // else it has died before the prctl
  ::_exit(0);
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
  const OpenFile none;
  const auto find = [&](int fd) -> const OpenFile& {
    for (const OpenFile& file : facts->files) {
      if (file.fd == fd) return file;
    }
    ADD_FAILURE() << "no descriptor " << fd;
    return none;
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
  using ::testing::HasSubstr;
  EXPECT_THAT(refusal([] { (void)::socket(AF_NETLINK, SOCK_RAW, 0); }),
              AllOf(HasSubstr("descriptor 3 (socket:["), HasSubstr("is a netlink socket")));
  EXPECT_THAT(refusal([] { (void)::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }),
              HasSubstr("neither TCP nor UDP"));
  EXPECT_THAT(refusal([] { (void)::syscall(SYS_pidfd_open, ::getpid(), 0); }),
              HasSubstr("is a kernel object that cannot be rebuilt"));
  EXPECT_THAT(refusal([] {
                int ends[2];
                (void)!::pipe(ends);
                hold_in_another_process();
                ::close(ends[0]);
              }),
              AllOf(HasSubstr("is a pipe whose other end is in another process"),
                    HasSubstr("&-), or leave it out with --lossy")));
  EXPECT_THAT(refusal([] {
                const int set = ::epoll_create1(0);
                const int file = ::eventfd(0, 0);
                epoll_event event = {};
                (void)::epoll_ctl(set, EPOLL_CTL_ADD, file, &event);
                hold_in_another_process();
                ::close(file);
              }),
              AllOf(HasSubstr("descriptor 3 (anon_inode:[eventpoll])"),
                    HasSubstr("added as descriptor 4, which the process has no more")));
}

/// Sends one descriptor over a socket pair.
void send_descriptor(int socket, int sent) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 0;
  iovec bytes = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_len = CMSG_LEN(sizeof(int));
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  std::memcpy(CMSG_DATA(head), &sent, sizeof(int));
  (void)::sendmsg(socket, &message, 0);
}

TEST(CheckParent, RefusesWhatIsUnderWayInAFile) {
  using ::testing::HasSubstr;
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    EXPECT_THAT(refusal([type] {
                  int ends[2];
                  (void)::socketpair(AF_UNIX, type, 0, ends);
                  (void)!::write(ends[0], "first", 5);
                  send_descriptor(ends[0], 0);
                }),
                AllOf(HasSubstr("descriptor 4 (socket:["), HasSubstr("descriptors in flight")));
  }
  const Folder folder;
  const std::string path = folder.file("f");
  EXPECT_THAT(refusal([&] {
                const int watch = ::inotify_init1(0);
                (void)::close(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
                (void)::inotify_add_watch(watch, path.c_str(), IN_CLOSE);
                (void)::close(::open(path.c_str(), O_RDWR));
              }),
              HasSubstr("is an inotify instance with events that have not been read"));
  EXPECT_THAT(refusal([&] {
                const int file = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
                (void)::fcntl(file, F_SETLEASE, F_WRLCK);
              }),
              HasSubstr("is locked by a LEASE"));
  EXPECT_THAT(refusal([] {
                const int file = ::memfd_create("long", 0);
                const std::vector<char> bytes(17u << 20, 'x');
                (void)!::write(file, bytes.data(), bytes.size());
              }),
              AllOf(HasSubstr("descriptor 3 (/memfd:long (deleted))"),
                    HasSubstr("longer than can be carried")));
}

TEST(CheckParent, LeavesASocketAsItWas) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const UniqueFd own(ends[0]), other(ends[1]);
  ASSERT_EQ(::write(ends[1], "one", 3), 3);
  ASSERT_EQ(::write(ends[1], "second", 6), 6);
  const pid_t pid = ::getpid();
  const auto process = open_process(pid);
  ASSERT_TRUE(process.ok());
  Target target(pid, process->get());
  OpenFile file;
  file.fd = ends[0];
  const auto incoming = read_incoming(target, file, ends[0], SOCK_DGRAM);
  ASSERT_TRUE(incoming.ok());
  ASSERT_EQ(incoming->size(), 2u);
  EXPECT_EQ((*incoming)[1].bytes.size(), 6u);
  EXPECT_EQ(get_number(ends[0], SOL_SOCKET, SO_PEEK_OFF), -1);
  char text[16];
  EXPECT_EQ(::recv(ends[0], text, sizeof text, MSG_PEEK), 3);
  EXPECT_EQ(::recv(ends[0], text, sizeof text, 0), 3);
}

TEST(CheckParent, TellsASemaphoreWithoutTheKernelsWord) {
  for (const bool semaphore : {false, true}) {
    for (const std::uint64_t count : {0u, 1u, 2u, 70000u}) {
      const UniqueFd fd(::eventfd(0, EFD_NONBLOCK | (semaphore ? EFD_SEMAPHORE : 0)));
      ASSERT_EQ(::write(fd.get(), &count, sizeof count), 8);
      const auto told = detail::is_semaphore(fd.get(), count);
      ASSERT_TRUE(told.ok());
      EXPECT_TRUE(*told == semaphore) << count;
      std::uint64_t left = 0, got = 0;
      while (::read(fd.get(), &got, sizeof got) == 8) left += got;
      EXPECT_EQ(left, count) << "it is as before";
    }
  }
}

TEST(CheckParent, SkipsTheConnectionsToAgents) {
  const StoppedProgram program([] { (void)::socket(AF_NETLINK, SOCK_RAW, 0); });
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

TEST(Drop, SaysWhatIsLeftOutButNoMoreWhatToDo) {
  const UniqueFd self(::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
  OpenFile file;
  file.number = 5;
  Dropped dropped;
  drop(self.get(), file, refuse_file(5, "pipe:[1]", "a pipe; close it before"), dropped);
  EXPECT_THAT(dropped, testing::ElementsAre("descriptor 5 (pipe:[1]) is a pipe"));
}

}  // namespace
}  // namespace mitosis::capture
