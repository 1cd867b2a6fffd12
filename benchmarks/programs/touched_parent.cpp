// SPDX-License-Identifier: MIT
// A C++ program with so many MiB of touched memory that prepares itself when told; its children
// read that memory when told. World: user.
//   the parent:  dirty | fork | prepare HANDLER POLICY | reclaim HANDLER
//   a child:     first | scan | random COUNT SEED      and exits at the end of its input
#include <floors/fork_pause.hpp>
#include <harness/clock.hpp>
#include <harness/memory.hpp>
#include <mitosis/mitosis.hpp>
#include <programs/answers.hpp>
#include <programs/reader.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace bench;

RandomReads reads;  // not on the stack: its pages are zeros that no machine is asked for

[[noreturn]] void live_as_child(const Memory& memory, std::int64_t first) {
  char line[128];
  while (read_line(line, sizeof line)) {
    std::size_t count = 0;
    unsigned long seed = 0;
    if (std::strcmp(line, "first") == 0) {
      answer("ok %lld", static_cast<long long>(first));
    } else if (std::strcmp(line, "scan") == 0) {
      const Scan scan = Scan::of(memory);
      answer("ok %lld %lld %zu", static_cast<long long>(scan.start),
             static_cast<long long>(scan.end), scan.wrong);
    } else if (std::sscanf(line, "random %zu %lu", &count, &seed) == 2) {
      reads.run(memory, count, seed);
      answer("ok %u %u %zu", reads.quantile(0.5), reads.quantile(0.9), reads.wrong);
    } else {
      answer("not a child's command: %s", line);
    }
  }
  std::_Exit(0);
}

}  // namespace
