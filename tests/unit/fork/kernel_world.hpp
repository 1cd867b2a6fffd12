// SPDX-License-Identifier: MIT
// What the tests of the kernel module's protocol share: a module's world with one prepared parent.
// World: user.
#pragma once

#include <gtest/gtest.h>

#include "../../fuzz/exercise_kernel.hpp"
#include "../net/test_server.hpp"

namespace mitosis::test {

inline constexpr MachineId module_machine{3};

inline mitosis_prepared some_parent() {
  mitosis_prepared parent;
  parent.handler = 73;
  parent.generation = 9;
  parent.target = {5, 0xabcdef};
  parent.key = AuthKey{{4, 2}};
  parent.pages = 20;
  parent.descriptor.resize((1 << 20) + 77);
  for (std::size_t i = 0; i < parent.descriptor.size(); ++i) parent.descriptor[i] = byte_at(i);
  return parent;
}

class KernelAgent : public ::testing::Test {
 protected:
  void SetUp() override {
    shim::world = {};
    shim::world.prepared[73] = some_parent();
  }
  /// Not in TearDown: connections hold what they serve.
  ~KernelAgent() override {
    EXPECT_EQ(shim::world.blocks, 0);
    EXPECT_EQ(shim::world.prepared[73].references, 0);
  }
};

}  // namespace mitosis::test
