// SPDX-License-Identifier: MIT
// What is refused, with which words, and who may do what. World: user.
// Each refusal names what, where and what to do, and leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "cluster.hpp"

namespace mitosis::live {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// Two ordinary users.
const std::vector<std::string> nobody = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
                                         "--clear-groups"};
const std::vector<std::string> somebody = {"/usr/bin/setpriv", "--reuid=54321", "--regid=54321",
                                           "--clear-groups"};

class Refusals : public ::testing::Test {
 protected:
  explicit Refusals(std::vector<std::string> extra = {}) : cluster(2, std::move(extra)) {
    cluster.introduce(2, 1);
  }
  ~Refusals() override {
    EXPECT_EQ(cluster.wait_until_clean(), "");
    for (std::uint32_t k : {1u, 2u}) {
      if (!cluster.machines().has_agent(k)) continue;
      EXPECT_TRUE(eventually([&] { return list(k) == "[]\n"; })) << "machine " << k << list(k);
    }
  }
  std::string list(std::uint32_t k) { return cluster.run(k, {"ps", "--json"}).text; }
  void reclaim(const Prepared& prepared) {
    EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
  }
  Cluster cluster;
};

// ---- prepare ------------------------------------------------------------------------------------

TEST_F(Refusals, what_a_process_may_not_have) {
  const struct {
    const char* what;
    std::vector<std::string> words;
  } cases[] = {
      {"socket", {"open file cannot be captured", "netlink socket"}},
      {"ring", {"state that cannot be captured", "asynchronous I/O"}},
  };
  for (const auto& it : cases) {
    SCOPED_TRACE(it.what);
    Puppet parent = cluster.filled(1, 50);
    const auto [ok, number] = split(parent.ask(std::string("have ") + it.what));
    ASSERT_EQ(ok, "ok");
    const Prepared refused = cluster.prepare(1, parent);
    EXPECT_EQ(refused.key, "");
    for (const std::string& word : it.words) EXPECT_THAT(refused.failure, HasSubstr(word));
    EXPECT_THAT(refused.failure, HasSubstr(number == "0" ? "" : "descriptor " + number));
    EXPECT_EQ(parent.ask("check"), "ok 50") << "nothing is lost in it";
    EXPECT_EQ(parent.end(), 0);
  }
}

TEST_F(Refusals, a_policy_that_is_none_or_not_compiled) {
  Puppet parent = cluster.filled(1, 50);
  EXPECT_THAT(cluster.prepare(1, parent, "fast").failure,
              AllOf(HasSubstr("not a policy name"), HasSubstr("mitosis policies")));
  const Prepared prepared = cluster.must_prepare(1, parent);
  for (const char* policy : {"rc+prefetch7+none+cow", "dct+prefetch9"}) {
    const Outcome refused = cluster.refused_child(2, prepared, policy);
    EXPECT_EQ(refused.status, 2) << "the command line is wrong";
    EXPECT_THAT(refused.text,
                AllOf(HasSubstr("the policy is not compiled in"), HasSubstr("mitosis policies")));
  }
  EXPECT_EQ(cluster.prepare(1, parent, "rc+prefetch7").key, "")
      << "it would be refused to every child";
  EXPECT_EQ(parent.end(), 0);
  reclaim(prepared);
}

TEST_F(Refusals, a_handler_in_use) {
  Puppet parent = cluster.filled(1, 50), second = cluster.filled(1, 60);
  const Prepared prepared = cluster.prepare(1, parent, "", 9);
  ASSERT_EQ(prepared.failure, "");
  for (Puppet* puppet : {&parent, &second}) {
    EXPECT_THAT(
        cluster.prepare(1, *puppet, "", 9).failure,
        AllOf(HasSubstr("handler 9"), HasSubstr("already in use"), HasSubstr("reclaim it")));
  }
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("check"), "ok 50");
  for (Puppet* puppet : {&child, &parent, &second}) EXPECT_EQ(puppet->end(), 0);
  reclaim(prepared);
}

TEST_F(Refusals, no_agent) {
  Puppet parent = cluster.filled(1, 50);
  const Prepared nothing{1, 1, std::string(32, '0'), ""};
  cluster.machines().stop(1);
  cluster.machines().stop(2);
  EXPECT_THAT(cluster.prepare(1, parent).failure,
              AllOf(HasSubstr("no agent answers"), HasSubstr("mitosis agent")));
  const Outcome refused = cluster.refused_child(2, nothing);
  EXPECT_EQ(refused.status, 125);
  EXPECT_THAT(refused.text, AllOf(HasSubstr("no agent answers"), HasSubstr("mitosis agent")));
  EXPECT_EQ(cluster.run(2, {"ps"}).status, 1);
  EXPECT_EQ(parent.end(), 0);
}

// ---- resume -------------------------------------------------------------------------------------

TEST_F(Refusals, wrong_names) {
  Puppet parent = cluster.filled(1, 50);
  const Prepared prepared = cluster.must_prepare(1, parent);
  Prepared wrong = prepared;
  wrong.key = std::string(31, '0') + "1";
  EXPECT_THAT(cluster.refused_child(2, wrong).text,
              AllOf(HasSubstr("machine 1: "), HasSubstr("handler 1"),
                    HasSubstr("does not open this handler"), HasSubstr("pass the key")));
  wrong = prepared;
  wrong.handler = 4711;
  EXPECT_THAT(cluster.refused_child(2, wrong).text,
              AllOf(HasSubstr("handler 4711"), HasSubstr("no such handler"), HasSubstr("ps")));
  wrong = prepared;
  wrong.machine = 77;
  EXPECT_THAT(cluster.refused_child(2, wrong).text,
              AllOf(HasSubstr("machine 77"), HasSubstr("is not connected"), HasSubstr("connect")));
  EXPECT_EQ(cluster.refused_child(2, wrong).status, 125);
  const Outcome key = cluster.run(2, {"resume", "1", "1", "--key", "12"});
  EXPECT_EQ(key.status, 2);
  EXPECT_EQ(parent.end(), 0);
  reclaim(prepared);
}

TEST_F(Refusals, machines_that_cannot_be_reached) {
  const Outcome closed = cluster.run(2, {"connect", "5", "10.77.0.1:1"});
  EXPECT_EQ(closed.status, 1);
  EXPECT_THAT(closed.text, AllOf(HasSubstr("machine 5"), HasSubstr("cannot be reached"),
                                 HasSubstr("check that its agent runs")));
  const auto before = Clock::now();
  const Outcome nowhere = cluster.run(2, {"connect", "6", "10.77.0.200:7411"});
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_THAT(nowhere.text, HasSubstr("machine 6"));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(30));
  const Outcome other = cluster.run(2, {"connect", "7", "10.77.0.1:7411"});
  EXPECT_EQ(other.status, 1) << "another machine answers there";
  EXPECT_THAT(other.text, HasSubstr("says it is machine 1"));
  const Outcome itself = cluster.run(2, {"connect", "2", "10.77.0.1:7411"});
  EXPECT_EQ(itself.status, 1);
  EXPECT_THAT(itself.text, HasSubstr("this machine's own id"));
  EXPECT_EQ(cluster.run(2, {"connect", "1", "10.77.0.1:7411"}).status, 0);
  EXPECT_EQ(cluster.run(2, {"connect", "1", "10.77.0.1:1"}).status, 1) << "nobody is there";
  EXPECT_EQ(cluster.run(2, {"connect", "1", "10.77.0.1:7411"}).status, 0);
}

TEST_F(Refusals, another_clusters_secret) {
  cluster.machines().stop(1);
  testbed::AgentSpec spec{.command = MITOSIS_COMMAND,
                          .machine = MachineId{1},
                          .directory = cluster.machines().directory().file("other"),
                          .secret = "a secret of another cluster",
                          .network = cluster.machines().network(1)};
  {
    auto stranger = testbed::AgentProcess::start(spec);
    ASSERT_TRUE(stranger.ok()) << describe(stranger.error());
    const Outcome refused = cluster.run(2, {"connect", "1", "10.77.0.1:7411"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.text,
                AllOf(HasSubstr("was not authenticated"), HasSubstr("--secret-file")));
  }
  ASSERT_TRUE(cluster.machines().start(1).ok());
}

// ---- who may ------------------------------------------------------------------------------------

TEST_F(Refusals, an_agent_without_privilege_names_the_capability) {
  const auto start = [&](std::vector<std::string> as) {
    const std::string socket = cluster.for_all_users(MITOSIS_COMMAND) + ".sock";
    return cluster.run(1,
                       {"agent", "--machine", "9", "--listen", "127.0.0.1:0", "--socket", socket},
                       std::move(as));
  };
  const Outcome user = start(nobody);
  EXPECT_EQ(user.status, 1);
  EXPECT_THAT(user.text, AllOf(HasSubstr("privilege is missing"), HasSubstr("CAP_SYS_PTRACE")));
  const Outcome most = start({"/usr/bin/setpriv", "--bounding-set=-kill", "--inh-caps=-kill"});
  EXPECT_EQ(most.status, 1);
  EXPECT_THAT(most.text, HasSubstr("CAP_KILL"));
}

TEST_F(Refusals, an_ordinary_user_has_handlers_of_his_own) {
  Puppet parent = cluster.filled(1, 300, nobody), roots = cluster.filled(1, 60);
  Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+local+cow");
  const Prepared of_root = cluster.must_prepare(1, roots);
  const std::string his = std::to_string(prepared.handler);
  const std::string of_roots = std::to_string(of_root.handler);

  // Each sees what is his; root sees all.
  const auto row = [](const std::string& handler) { return "\"handler\": " + handler + ","; };
  const auto sees = [&](std::vector<std::string> as) {
    return cluster.run(1, {"ps", "--json"}, std::move(as)).text;
  };
  EXPECT_THAT(sees(nobody), AllOf(HasSubstr(row(his)), Not(HasSubstr(row(of_roots)))));
  EXPECT_EQ(sees(somebody), "[]\n");
  EXPECT_THAT(sees({}), AllOf(HasSubstr(row(his)), HasSubstr(row(of_roots))));

  // A child has its caller's identity, whoever has prepared it; the key opens it to anyone.
  Puppet own = cluster.start_child(2, prepared, "", nobody);
  EXPECT_THAT(own.hear(), StartsWith("child "));
  EXPECT_EQ(own.ask("who"), "ok 65534 65534 65534 65534");
  EXPECT_EQ(own.ask("check"), "ok 300");
  EXPECT_THAT(own.ask("stress 6 500"), StartsWith("ok "));
  Puppet borrowed = cluster.start_child(2, prepared, "", somebody);
  EXPECT_THAT(borrowed.hear(), StartsWith("child "));
  EXPECT_EQ(borrowed.ask("who"), "ok 54321 54321 54321 54321");
  EXPECT_EQ(borrowed.ask("check"), "ok 300");
  Puppet privileged = cluster.start_child(2, of_root, "", nobody);
  EXPECT_THAT(privileged.hear(), StartsWith("child "));
  EXPECT_EQ(privileged.ask("who"), "ok 65534 65534 65534 65534")
      << "root's image, not root's power";
  const Outcome spawned = cluster.run(
      2, {"spawn", "1", his, "--key", prepared.key, "--count", "3", "--null", "--json"}, nobody);
  EXPECT_EQ(spawned.status, 0) << spawned.text;

  // Others cannot end it; he can.
  const Outcome refused = cluster.run(1, {"reclaim", of_roots}, nobody);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.text, AllOf(HasSubstr("may not do this"), HasSubstr("as root")));
  EXPECT_EQ(cluster.run(1, {"reclaim", his}, somebody).status, 1);
  EXPECT_THAT(cluster.run(1, {"connect", "2", "10.77.0.2:7411"}, nobody).text,
              HasSubstr("only root"));
  for (Puppet* puppet : {&own, &borrowed, &privileged, &parent, &roots})
    EXPECT_EQ(puppet->end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", his}, nobody).status, 0);
  reclaim(of_root);
}

// ---- limits -------------------------------------------------------------------------------------

class SmallBudget : public Refusals {
 protected:
  SmallBudget() : Refusals({"--memory-budget", "4M"}) {}
};

TEST_F(SmallBudget, a_full_cache_costs_time_only) {
  Puppet parent = cluster.filled(1, 4000);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+local+cow");
  Puppet first = cluster.child(2, prepared), second = cluster.child(2, prepared);
  EXPECT_EQ(first.ask("check"), "ok 4000");
  EXPECT_EQ(second.ask("check"), "ok 4000");
  EXPECT_THAT(second.ask("stress 2 700"), StartsWith("ok "));
  EXPECT_EQ(first.ask("check"), "ok 4000");
  for (Puppet* puppet : {&first, &second, &parent}) EXPECT_EQ(puppet->end(), 0);
  reclaim(prepared);
}

TEST_F(SmallBudget, a_copy_that_does_not_fit_is_refused_by_name) {
  Puppet parent = cluster.filled(1, 4000);
  const Prepared prepared = cluster.prepare(1, parent, "rc+prefetch8+none+copy");
  // The copy is made behind the parent's back: the first child is told.
  const std::string why =
      prepared.key.empty() ? prepared.failure : cluster.refused_child(2, prepared).text;
  EXPECT_THAT(why, AllOf(HasSubstr("memory budget is exceeded"), HasSubstr("--memory-budget")));
  EXPECT_EQ(parent.ask("check"), "ok 4000");
  EXPECT_EQ(parent.end(), 0);
  if (!prepared.key.empty()) reclaim(prepared);  // until then it says why
}

}  // namespace
}  // namespace mitosis::live
