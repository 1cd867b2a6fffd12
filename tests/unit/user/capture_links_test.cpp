// SPDX-License-Identifier: MIT
// link_members: which process groups and sessions of a tree can be made again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/capture/tree_links.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::capture {
namespace {

using descriptor::MemberRecord;
using descriptor::no_leader;
using testing::HasSubstr;

/// A tree whose root is process 10, in its shell's session 5 and group 6.
class TreeLinks : public testing::Test {
 protected:
  TreeLinks() { add(10, 0, 6, 5); }
  void add(std::uint32_t pid, std::uint32_t parent, std::uint32_t group, std::uint32_t session) {
    MemberRecord member = {};
    member.pid = pid;
    member.parent = parent;
    members.push_back(member);
    ProcessLinks link;
    link.group = group;
    link.session = session;
    links.push_back(link);
  }
  std::string refusal() {
    const auto linked = link_members(links, members);
    return linked ? "" : describe(linked.error());
  }
  std::vector<MemberRecord> members;
  std::vector<ProcessLinks> links;
};

TEST_F(TreeLinks, WhatIsOfOutsideBecomesTheRoots) {
  add(11, 0, 6, 5);
  ASSERT_TRUE(link_members(links, members));
  for (const MemberRecord& m : members) {
    EXPECT_EQ(m.group, no_leader);
    EXPECT_EQ(m.session, no_leader);
  }
}

TEST_F(TreeLinks, LeadersAreFoundAlsoBehindTheirFollowers) {
  add(11, 0, 12, 5);
  add(12, 0, 12, 5);
  add(13, 2, 13, 13);
  add(14, 3, 13, 13);
  ASSERT_TRUE(link_members(links, members));
  EXPECT_EQ(members[1].group, 2u);
  EXPECT_EQ(members[2].group, 2u);
  EXPECT_EQ(members[4].group, 3u);
  EXPECT_EQ(members[3].session, 3u);
  EXPECT_EQ(members[4].session, 3u);
}

TEST_F(TreeLinks, AGroupWhoseLeaderIsGoneGetsOneThatIsToo) {
  add(11, 0, 9, 5);
  add(12, 0, 9, 5);
  ASSERT_TRUE(link_members(links, members));
  ASSERT_EQ(members.size(), 4u);
  EXPECT_EQ(members[3].pid, 9u);
  EXPECT_EQ(members[3].flags, descriptor::member_gone);
  for (std::size_t i = 1; i < members.size(); ++i) EXPECT_EQ(members[i].group, 3u);
}

TEST_F(TreeLinks, AGroupOfAStrangerIsRefused) {
  add(11, 0, 9, 5);
  links[1].leader_lives = true;
  EXPECT_THAT(refusal(), HasSubstr("process 11 is of process group 9"));
}

TEST_F(TreeLinks, ASessionOfAStrangerIsRefused) {
  add(11, 0, 6, 4);
  EXPECT_THAT(refusal(), HasSubstr("process 11 is of session 4"));
}

TEST_F(TreeLinks, ASessionThatItsParentHasLeftIsRefused) {
  add(11, 0, 11, 11);
  add(12, 1, 6, 5);
  EXPECT_THAT(refusal(), HasSubstr("process 12 is of session 5, and its parent of 11"));
}

TEST(ProcessLinks, TellsWhoHasEndedAndHow) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(7);
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto links = read_links(child);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(links.ok());
  EXPECT_TRUE(links->is_zombie());
  EXPECT_FALSE(links->is_shadow());
  EXPECT_EQ(WEXITSTATUS(static_cast<int>(links->status)), 7);
  EXPECT_EQ(links->exit_signal, static_cast<std::uint32_t>(SIGCHLD));
  EXPECT_EQ(links->group, static_cast<std::uint32_t>(::getpgrp()));
  EXPECT_EQ(links->session, static_cast<std::uint32_t>(::getsid(0)));
  const auto own = read_links(::getpid());
  ASSERT_TRUE(own.ok());
  EXPECT_FALSE(own->is_zombie());
}

}  // namespace
}  // namespace mitosis::capture
