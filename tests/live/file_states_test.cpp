// SPDX-License-Identifier: MIT
// The state matrix: each kind of state comes along to another machine, and the parent keeps its
// own. World: user. The table is file_states/states.def; what a state must be: file_states/*.c.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "cluster.hpp"

namespace mitosis::live {
namespace {

/// What the child's machine lacks, or has instead: the two share a filesystem here.
enum class Elsewhere { same, removed, another };
struct State {
  const char* name;
  const char* path = nullptr;
  Elsewhere elsewhere = Elsewhere::same;
};
std::ostream& operator<<(std::ostream& out, const State& state) {
  return out << state.name;
}

constexpr State all[] = {
#define STATE(name) {#name},
#include "file_states/states.def"
#undef STATE
};
/// Those whose file the other machine does not have, or not as the same one.
constexpr State special[] = {{"missing", "missing", Elsewhere::removed},
                             {"unix_listener", "socket", Elsewhere::removed},
                             {"unix_dgram_gone", "syslog", Elsewhere::removed},
                             {"flock", "locked", Elsewhere::another},
                             {"ofd_lock", "locked", Elsewhere::another},
                             {"posix_lock", "locked", Elsewhere::another}};

class FileStates : public ::testing::TestWithParam<State> {
 protected:
  /// One cluster for the whole table: what a state leaves behind, the next would meet.
  static void SetUpTestSuite() {
    cluster = new Cluster;
    cluster->introduce(2, 1);
  }
  static void TearDownTestSuite() {
    delete cluster;
    cluster = nullptr;
  }
  void SetUp() override { std::filesystem::create_directory(folder()); }
  void TearDown() override {
    EXPECT_EQ(cluster->wait_until_clean(), "");
    std::filesystem::remove_all(folder());
  }
  [[nodiscard]] static std::string folder() {
    return cluster->machines().directory().file("state");
  }
  /// The process with this state, which prepares itself.
  Puppet start(const std::string& name) {
    return Puppet::start({LIVE_FILE_STATES, name, std::to_string(++handler), folder()},
                         {"MITOSIS_SOCKET=" + cluster->machines().socket(1)},
                         cluster->machines().network(1));
  }
  static inline Cluster* cluster = nullptr;
  static inline std::uint64_t handler = 0;
};

TEST_P(FileStates, comes_along) {
  State state = GetParam();
  for (const State& other : special) {
    if (std::string(other.name) == state.name) state = other;
  }
  Puppet parent = start(state.name);
  const auto [word, key] = split(parent.hear());
  ASSERT_EQ(word, "parent") << key;
  const std::string path = state.path != nullptr ? folder() + "/" + state.path : "";
  if (state.elsewhere != Elsewhere::same) std::filesystem::remove(path);
  if (state.elsewhere == Elsewhere::another) std::ofstream(path) << "another";

  const Prepared prepared{1, handler, key, ""};
  Puppet child = cluster->start_child(2, prepared);
  EXPECT_EQ(child.hear(), "child ok");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.ask("check"), "ok");
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster->run(1, {"reclaim", std::to_string(handler)}).status, 0);
}

INSTANTIATE_TEST_SUITE_P(All, FileStates, ::testing::ValuesIn(all),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace mitosis::live
