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

/// Times the call; in a child it does not return.
void prepare(const mitosis::Agent& agent, const Memory& memory, unsigned long handler,
             const char* policy) {
  const std::int64_t start = now_ns();
  const auto outcome = agent.prepare(mitosis::HandlerId{handler}, policy);
  const std::int64_t end = now_ns();
  if (outcome && outcome->child) live_as_child(memory, end);
  if (!outcome) return answer("%s", mitosis::describe(outcome.error()).c_str());
  answer("ok %lld %s", static_cast<long long>(end - start),
         mitosis::format_key(outcome->key).c_str());
}

void obey(const char* line, const mitosis::Agent& agent, const Memory& memory) {
  char policy[64] = {};
  unsigned long handler = 0;
  if (std::strcmp(line, "dirty") == 0) {
    memory.touch();
    answer("ok");
  } else if (std::strcmp(line, "fork") == 0) {
    const auto pause = fork_pause_ns();
    answer(pause ? "ok %lld" : "fork failed", static_cast<long long>(pause.value_or(0)));
  } else if (std::sscanf(line, "prepare %lu %63s", &handler, policy) == 2) {
    prepare(agent, memory, handler, policy);
  } else if (std::sscanf(line, "reclaim %lu", &handler) == 1) {
    const auto done = agent.reclaim(mitosis::HandlerId{handler});
    answer("%s", done ? "ok" : mitosis::describe(done.error()).c_str());
  } else {
    answer("not a parent's command: %s", line);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long mebibytes = argc == 2 ? std::atol(argv[1]) : 0;
  if (mebibytes <= 0) return 2;
  const Memory memory(static_cast<std::size_t>(mebibytes) * mib);
  const auto agent = mitosis::Agent::open();
  if (!memory.ok() || !agent) return 1;
  memory.touch();
  answer("ok");
  char line[128];
  while (read_line(line, sizeof line)) obey(line, *agent, memory);
}
