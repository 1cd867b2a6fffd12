// SPDX-License-Identifier: MIT
// take_over(), end to end: a captured program goes on in another process. World: user.
// What "goes on" means is checked by the program itself: restore_parent.c.
#include "restore_fixture.hpp"

#include <grp.h>
#include <sys/mman.h>

namespace mitosis::restore::test {
namespace {

class RestoreLaunch : public RestoreFixture {};

TEST_F(RestoreLaunch, AProgramGoesOnInAnotherProcess) {
  TestAgent agent(*parent_, describe_parent().finish());
  EXPECT_RESTORED(agent, resume(agent));
  EXPECT_TRUE(agent.carried().empty());
  EXPECT_GT(agent.faults(), 0u);
}

TEST_F(RestoreLaunch, OneParentHasManyChildren) {
  for (int i = 0; i < 3; ++i) {
    TestAgent agent(*parent_, describe_parent().finish());
    EXPECT_RESTORED(agent, resume(agent));
  }
}

TEST_F(RestoreLaunch, ItsPagesMayLiveInTheMachinesCache) {
  TestAgent agent(*parent_, describe_parent().finish(), {.cache_local = true});
  EXPECT_RESTORED(agent, resume(agent));
}

TEST_F(RestoreLaunch, AFileThatDiffersHereIsReadFromTheParent) {
  const auto bytes = describe_parent().finish();
  using std::filesystem::file_time_type;
  std::filesystem::last_write_time(program(), file_time_type::clock::now());
  for (const bool cache : {false, true}) {
    TestAgent agent(*parent_, bytes, {.cache_local = cache});
    EXPECT_RESTORED(agent, resume(agent));
    EXPECT_FALSE(agent.carried().empty());
  }
}

TEST_F(RestoreLaunch, SoIsAFileThatIsMissing) {
  const auto bytes = describe_parent().finish();
  std::filesystem::remove(program());
  TestAgent agent(*parent_, bytes);
  EXPECT_RESTORED(agent, resume(agent));
  EXPECT_FALSE(agent.carried().empty());
}

TEST_F(RestoreLaunch, TheLauncherNeedsNoPrivilege) {
  TestAgent agent(*parent_, describe_parent().finish());
  const int status = in_launcher(agent, [&agent] {
    if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
    return become_child(agent);
  });
  EXPECT_RESTORED(agent, status);
}

TEST_F(RestoreLaunch, TheLaunchersOwnStateDoesNotLeakIntoTheChild) {
  TestAgent agent(*parent_, describe_parent().finish());
  const int status = in_launcher(agent, [&agent] {
    for (int fd = 3; fd < 200; ++fd) {  // the numbers of the child's files among them
      if (fd != agent.socket() && ::dup2(2, fd) != fd) return 1;
    }
    ::signal(SIGUSR1, SIG_IGN);
    ::signal(SIGPIPE, SIG_IGN);
    ::umask(0777);
    ::mlockall(MCL_FUTURE);
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    return become_child(agent);
  });
  EXPECT_RESTORED(agent, status);
}

TEST_F(RestoreLaunch, AnyKindOfExecutableCanLaunch) {
  for (const char* launcher : {RESTORE_LAUNCHERS}) {
    SCOPED_TRACE(launcher);
    TestAgent agent(*parent_, describe_parent().finish());
    const int status = in_launcher(agent, [&] {
      const int fd = ::fcntl(agent.socket(), F_DUPFD, 5);
      ::execl(launcher, launcher, std::to_string(fd).c_str(), nullptr);
      return 4;
    });
    EXPECT_RESTORED(agent, status);
  }
}

}  // namespace
}  // namespace mitosis::restore::test
