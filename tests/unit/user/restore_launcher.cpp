// SPDX-License-Identifier: MIT
// The process that the restore tests have taken over; built in every way a program is linked.
// World: user (tests). Usage: restore_launcher SOCKET-FD
#include <mitosis/fork/user/restore/launch.hpp>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const mitosis::local::ChannelView agent(std::atoi(argv[1]));
  const auto result = mitosis::restore::take_over(agent, {});
  std::fprintf(stderr, "%s: %s\n", result.error().step.c_str(), result.error().subject.c_str());
  return 3;
}
