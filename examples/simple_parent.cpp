// SPDX-License-Identifier: MIT
// A parent: prints an increasing number every second, and may be resumed elsewhere from 1 on.
//   simple_parent -handler_id=73 -pin=false
#include <mitosis/mitosis.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "flags.hpp"

int main(int argc, char** argv) {
  std::uint64_t handler_id = 73;
  bool pin = false;
  int count = -1;
  unsigned interval_ms = 1000;
  CLI::App app("Prints numbers, and prepares itself after the first");
  app.add_option("--handler_id", handler_id, "the name of the prepared process");
  app.add_option("--pin", pin, "exit once prepared: the handler stays until it is reclaimed");
  app.add_option("--count", count, "numbers to print after the first (default: without end)");
  app.add_option("--interval_ms", interval_ms, "time between two numbers");
  int status = 0;
  if (!parse_flags(app, argc, argv, status)) return status;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // nothing printed may wait in the children's memory

  const int sd = sopen();
  if (sd < 0) {
    std::fprintf(stderr, "simple_parent: %s\n", mitosis_strerror());
    return 1;
  }
  int cnt = 0;
  usleep(interval_ms * 1000);
  std::printf("time %d\n", cnt++);

  mitosis_key key;
  // The children go on from here. What is pinned stays after this process, whatever the lease.
  const int who = pin ? mitosis_prepare_as(sd, handler_id, nullptr, MITOSIS_PINNED, &key)
                      : fork_prepare(sd, handler_id, &key);
  if (who < 0) {
    std::fprintf(stderr, "simple_parent: %s\n", mitosis_strerror());
    return 1;
  }
  if (who == MITOSIS_PARENT) {
    char text[33];
    mitosis_key_format(&key, text);
    std::printf("key %s\n", text);
    if (pin) return 0;
  }
  while (count < 0 || cnt <= count) {
    std::printf("time %d\n", cnt++);
    usleep(interval_ms * 1000);
  }
}
