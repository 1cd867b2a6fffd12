// SPDX-License-Identifier: MIT
// How access ends: reclaim, leases, and the death of every part in turn. World: user.
// A child may finish, or get SIGBUS within the page deadline; it never reads a wrong byte, never
// sleeps for ever, and nothing is left of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cluster.hpp"

namespace mitosis::live {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int by_sigbus = 128 + SIGBUS, by_sigkill = 128 + SIGKILL;
constexpr const char* no_prefetch = "rc+ondemand+none+cow";  // a page not asked for is not there

/// Lines of `tell` until it has come to page `page`; false if it does not.
bool reaches(Puppet& child, int page) {
  while (true) {
    const auto [word, number] = split(child.hear());
    if (word != "at") return false;
    if (std::stoi(number) >= page) return true;
  }
}
/// The last word of a child that is in the middle of `tell`: "ok", "ended", "wrong", "silent".
std::string last_word(Puppet& child, std::chrono::milliseconds silence = patience) {
  while (true) {
    const std::string word = split(child.hear(Clock::now() + silence)).first;
    if (word != "at") return word;
  }
}

class Ends : public ::testing::Test {
 protected:
  explicit Ends(std::vector<std::string> extra = {"--page-deadline", "2s"})
      : cluster(2, std::move(extra)) {
    cluster.introduce(2, 1);
  }
  [[nodiscard]] Outcome reclaim(const Prepared& prepared) {
    return cluster.run(1, {"reclaim", std::to_string(prepared.handler)});
  }
  [[nodiscard]] std::string listed(std::uint32_t k) {
    return cluster.run(k, {"ps", "--json"}).text;
  }
  Cluster cluster;
};

// ---- reclaim ------------------------------------------------------------------------------------

TEST_F(Ends, after_reclaim_a_missing_page_is_sigbus) {
  Puppet parent = cluster.filled(1, 1000);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared), idle = cluster.child(2, prepared);
  ASSERT_EQ(child.ask("read 0 100"), "ok 100");
  ASSERT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(child.ask("read 0 100"), "ok 100") << "what it has is its own";
  EXPECT_EQ(child.ask("write 0 100"), "ok 100");
  EXPECT_EQ(child.ask("touch 500"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  idle.process().signal(SIGKILL);
  EXPECT_EQ(idle.end(), by_sigkill);
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("no such handler"));
  EXPECT_EQ(parent.ask("check"), "ok 1000") << "nothing is lost in the parent";
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, the_key_reclaims_from_afar_and_a_wrong_one_does_not) {
  Puppet parent = cluster.filled(1, 100);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  const std::string handler = std::to_string(prepared.handler);
  Puppet child = cluster.child(2, prepared);
  const std::string wrong_key(32, '0');
  const Outcome refused =
      cluster.run(2, {"reclaim", handler, "--machine", "1", "--key", wrong_key});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.text, HasSubstr("does not open this handler"));
  EXPECT_EQ(child.ask("read 0 50"), "ok 50");
  EXPECT_EQ(cluster.run(2, {"reclaim", handler, "--machine", "1", "--key", prepared.key}).status,
            0);
  EXPECT_EQ(child.ask("touch 70"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, a_reclaimed_handler_can_be_prepared_again) {
  for (int round = 0; round < 3; ++round) {
    Puppet parent = cluster.filled(1, 64 + 64 * static_cast<unsigned>(round));
    const Prepared prepared = cluster.prepare(1, parent, "rc+prefetch8+local+cow", 73);
    ASSERT_EQ(prepared.failure, "");
    Puppet child = cluster.child(2, prepared);
    EXPECT_THAT(child.ask("check"), StartsWith("ok "));
    EXPECT_EQ(child.end(), 0);
    EXPECT_EQ(parent.ask("reclaim 73"), "ok");
    EXPECT_EQ(parent.end(), 0);
  }
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

// ---- leases -------------------------------------------------------------------------------------

class Leases : public Ends {
 protected:
  Leases() : Ends({"--lease", "1s"}) {}
};

TEST_F(Leases, an_orphan_without_children_ends_and_one_with_them_does_not) {
  Puppet used = cluster.filled(1, 300), unused = cluster.filled(1, 300);
  const Prepared kept = cluster.must_prepare(1, used, no_prefetch);
  Puppet child = cluster.child(2, kept);
  EXPECT_EQ(used.end(), 0);
  // The other one's lease is over after at least as long, so the first one's was renewed.
  const Prepared orphan = cluster.must_prepare(1, unused, no_prefetch);
  EXPECT_EQ(unused.end(), 0);
  const std::string its_row = "\"handler\": " + std::to_string(orphan.handler);
  EXPECT_TRUE(eventually([&] { return listed(1).find(its_row) == std::string::npos; }));
  EXPECT_THAT(cluster.refused_child(2, orphan).text, HasSubstr("no such handler"));
  EXPECT_EQ(child.ask("check"), "ok 300");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "") << "the first one's lease ends with its last child";
}

// ---- parts that die -----------------------------------------------------------------------------

TEST_F(Ends, a_machine_that_dies_in_mid_transfer) {
  Puppet parent = cluster.filled(1, 16384);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+none+cow");
  Puppet child = cluster.child(2, prepared), other = cluster.child(2, prepared);
  child.tell("tell 0 16384");
  other.tell("tell 8000 8000");
  ASSERT_TRUE(reaches(child, 640));
  cluster.machines().crash(1);
  for (Puppet* puppet : {&child, &other}) {
    EXPECT_THAT(last_word(*puppet, std::chrono::seconds(30)), AnyOf("ended", "ok"));
    EXPECT_THAT(puppet->end(std::chrono::seconds(30)), AnyOf(0, by_sigbus));
  }
  EXPECT_EQ(parent.ask("check"), "ok 16384") << "it lives, its agent does not";
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("machine 1: "));
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "") << "its shadow has gone with it";
  ASSERT_TRUE(cluster.machines().start(1).ok());
  EXPECT_THAT(cluster.refused_child(2, prepared).text, HasSubstr("no such handler"));
}

TEST_F(Ends, a_machine_that_falls_silent) {
  Puppet parent = cluster.filled(1, 8192);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared), killed = cluster.child(2, prepared);
  child.tell("tell 0 8192");
  killed.tell("tell 0 8192");
  ASSERT_TRUE(reaches(child, 64));
  ASSERT_TRUE(reaches(killed, 64));
  ASSERT_TRUE(cluster.machines().set_cable(1, false).ok());
  killed.process().signal(SIGKILL);
  EXPECT_EQ(killed.end(std::chrono::seconds(20)), by_sigkill) << "it stays killable in a fault";
  EXPECT_EQ(last_word(child, std::chrono::seconds(30)), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  const auto before = Clock::now();
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("machine 1: "));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(40));
  ASSERT_TRUE(cluster.machines().set_cable(1, true).ok());
  Puppet again = cluster.child(2, prepared);
  EXPECT_EQ(again.ask("check"), "ok 8192");
  EXPECT_EQ(again.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

class LongDeadline : public Ends {
 protected:
  LongDeadline() : Ends({"--page-deadline", "60s"}) {}
};

TEST_F(LongDeadline, a_cable_that_was_out_for_a_moment_costs_time_only) {
  Puppet parent = cluster.filled(1, 8192);
  const Prepared prepared = cluster.must_prepare(1, parent, "dct+prefetch8+none+cow");
  Puppet child = cluster.child(2, prepared);
  child.tell("tell 0 8192");
  ASSERT_TRUE(reaches(child, 64));
  ASSERT_TRUE(cluster.machines().set_cable(1, false).ok());
  EXPECT_EQ(last_word(child, std::chrono::milliseconds(500)), "silent");
  ASSERT_TRUE(cluster.machines().set_cable(1, true).ok());
  EXPECT_EQ(last_word(child), "ok");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(LongDeadline, the_childrens_worker_dies_again_and_again) {
  Puppet parent = cluster.filled(1, 3000);
  ASSERT_EQ(parent.ask("map 500"), "ok");
  std::vector<Puppet> children;
  std::vector<Prepared> all;
  for (const char* policy :
       {"rc+ondemand+none+cow", "rc+prefetch8+local+cow", "dct+prefetch64+none+copy"}) {
    all.push_back(cluster.must_prepare(1, parent, policy));
    for (int i = 0; i < 2; ++i) children.push_back(cluster.child(2, all.back()));
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    children[i].tell("stress " + std::to_string(i + 50) + " 5000");
  }
  int last = 0;
  for (int death = 0; death < 6; ++death) {
    int worker = 0;
    ASSERT_TRUE(eventually([&] {
      worker = cluster.machines().worker(2);
      return worker != 0 && worker != last && cluster.run(2, {"nil"}).status == 0;
    })) << "no worker after death "
        << death;
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    last = worker;
  }
  for (Puppet& child : children) EXPECT_THAT(child.hear(), StartsWith("ok "));
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  Puppet late = cluster.child(2, all[1]);
  EXPECT_EQ(late.ask("check"), "ok 3500");
  EXPECT_EQ(late.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  for (const Prepared& prepared : all) EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(LongDeadline, the_parents_worker_dies_and_its_children_go_on) {
  Puppet parent = cluster.filled(1, 12000);
  std::vector<Prepared> all;
  std::vector<Puppet> children;
  for (const char* policy : {"rc+ondemand+none+cow", "dct+prefetch8+local+copy"}) {
    all.push_back(cluster.must_prepare(1, parent, policy));
    children.push_back(cluster.child(2, all.back()));
    children.back().tell("tell 0 12000");
  }
  for (int death = 0; death < 2; ++death) {
    int worker = 0;
    ASSERT_TRUE(eventually([&] {
      worker = cluster.machines().worker(1);
      return worker != 0 && cluster.run(1, {"nil"}).status == 0;
    }));
    ASSERT_TRUE(death > 0 || reaches(children[0], 64));
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return cluster.machines().worker(1) != worker; }));
  }
  for (Puppet& child : children) EXPECT_EQ(last_word(child), "ok");
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  for (const Prepared& prepared : all) {
    Puppet late = cluster.child(2, prepared);
    EXPECT_EQ(late.ask("check"), "ok 12000");
    EXPECT_EQ(late.end(), 0);
    EXPECT_EQ(reclaim(prepared).status, 0) << "it is still the handler's agent";
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, the_keeper_dies_and_takes_the_children_along) {
  Puppet parent = cluster.filled(1, 2000);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  child.tell("stress 4 60000");
  Puppet idle = cluster.child(2, prepared);
  cluster.machines().agent(2).process().signal(SIGKILL);
  for (Puppet* puppet : {&child, &idle}) {
    EXPECT_EQ(puppet->hear(), "ended");
    EXPECT_EQ(puppet->end(), by_sigkill);
  }
  cluster.machines().stop(2);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, an_agent_that_is_told_to_end_leaves_nothing) {
  Puppet parent = cluster.filled(1, 500);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("read 0 10"), "ok 10");
  cluster.machines().stop(2);
  EXPECT_EQ(child.end(), by_sigkill);
  cluster.machines().stop(1);
  EXPECT_EQ(parent.ask("check"), "ok 500");
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, a_shadow_that_is_killed) {
  Puppet parent = cluster.filled(1, 500);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("read 0 10"), "ok 10");
  int shadow = 0;
  for (const int pid : cluster.strangers(1)) {
    if (testbed::name_of(pid) == "mitosis-shadow") shadow = pid;
  }
  ASSERT_NE(shadow, 0);
  ASSERT_EQ(::kill(shadow, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    const char state = testbed::state_of(shadow);
    return state == 'Z' || state == '\0';
  }));
  EXPECT_EQ(child.ask("touch 400"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  EXPECT_EQ(parent.ask("check"), "ok 500");
  EXPECT_EQ(parent.end(), 0);
  (void)reclaim(prepared);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, a_frozen_child_harms_nobody) {
  Puppet parent = cluster.filled(1, 2000);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+local+cow");
  Puppet frozen = cluster.child(2, prepared), other = cluster.child(2, prepared);
  frozen.tell("tell 0 2000");
  ASSERT_TRUE(reaches(frozen, 64));
  frozen.process().signal(SIGSTOP);
  EXPECT_EQ(other.ask("check"), "ok 2000");
  frozen.process().signal(SIGCONT);
  EXPECT_EQ(last_word(frozen), "ok");
  frozen.process().signal(SIGSTOP);
  EXPECT_EQ(other.end(), 0);
  frozen.process().signal(SIGKILL);
  EXPECT_EQ(frozen.end(), by_sigkill);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

// ---- nothing is kept ----------------------------------------------------------------------------

/// One pager thread: with more, connections are opened whenever one of them first needs some.
class OnePager : public Ends {
 protected:
  OnePager() : Ends({"--pagers", "1"}) {}
};

TEST_F(OnePager, rounds_of_everything_leave_no_descriptor_open) {
  Puppet parent = cluster.filled(1, 200);
  const auto round = [&](const char* policy) {
    const Prepared prepared = cluster.must_prepare(1, parent, policy);
    Puppet child = cluster.child(2, prepared), killed = cluster.child(2, prepared);
    EXPECT_EQ(child.ask("fork 1 10"), "ok");
    EXPECT_EQ(killed.ask("read 0 50"), "ok 50");
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.end(), by_sigkill);
    const Prepared second = cluster.must_prepare(2, child);
    Puppet beside = cluster.child(2, second);
    EXPECT_EQ(beside.ask("check"), "ok 200");
    EXPECT_EQ(beside.end(), 0);
    EXPECT_EQ(child.end(), 0);
    EXPECT_EQ(cluster.run(2, {"reclaim", std::to_string(second.handler)}).status, 0);
    EXPECT_EQ(reclaim(prepared).status, 0);
    Prepared wrong = prepared;
    wrong.key = std::string(32, '1');
    EXPECT_EQ(cluster.refused_child(2, wrong).status, 125);
  };
  const char* policies[] = {"rc+ondemand+none+cow", "dct+prefetch8+none+copy", "rc+eager+none+cow"};
  for (const char* policy : policies) round(policy);
  const auto open = [&](std::uint32_t k) {
    return testbed::descriptors_of(cluster.machines().agent(k).process().pid());
  };
  int before[2] = {1 << 20, 1 << 20};  // the least that is seen while the first ones' ends settle
  (void)eventually(
      [&] {
        for (std::uint32_t k : {1u, 2u}) before[k - 1] = std::min(before[k - 1], open(k));
        return false;
      },
      std::chrono::milliseconds(1500));
  for (int i = 0; i < 3; ++i) {
    for (const char* policy : policies) round(policy);
  }
  for (std::uint32_t k : {1u, 2u}) {
    EXPECT_TRUE(eventually([&] { return open(k) <= before[k - 1]; }, std::chrono::seconds(20)))
        << "machine " << k << ": " << before[k - 1] << " descriptors before, now " << open(k);
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

}  // namespace
}  // namespace mitosis::live
