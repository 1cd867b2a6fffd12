// SPDX-License-Identifier: MIT
// Runs the live tests, or says what this machine lacks for them and exits with 77. World: user.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <mitosis/base/describe.hpp>
#include <testbed/bridge.hpp>
#include <testbed/netns.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

/// Why no live test can run here; "" if they can.
std::string missing() {
  using namespace mitosis;
  if (::geteuid() != 0) return "the live tests need root";
  const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (!device) return std::string("no /dev/userfaultfd here: ") + std::strerror(errno);
  const auto network = testbed::NetNamespace::create();
  if (!network) return "no network namespaces here: " + describe(network.error());
  const testbed::Inside inside(*network);
  if (const auto bridge = testbed::make_bridge("br0"); !bridge) {
    return "no bridges here: " + describe(bridge.error());
  }
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (::testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  if (const std::string why = missing(); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return 77;
  }
  ::signal(SIGPIPE, SIG_IGN);  // a puppet may be gone when it is spoken to
  return RUN_ALL_TESTS();
}
