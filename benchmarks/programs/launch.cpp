// SPDX-License-Identifier: MIT
// Becomes a child: `launch MACHINE HANDLER KEY POLICY`. Says when it called resume. World: user.
#include <harness/clock.hpp>
#include <mitosis/mitosis.hpp>
#include <programs/answers.hpp>

#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const auto key = mitosis::parse_key_text(argv[3]);
  const auto agent = mitosis::Agent::open();
  if (!key || !agent) return 1;
  mitosis::restore::ResumeRequest request;
  request.machine = mitosis::MachineId{static_cast<std::uint32_t>(std::atoi(argv[1]))};
  request.handler = mitosis::HandlerId{std::strtoull(argv[2], nullptr, 10)};
  request.key = *key;
  request.policy = argv[4];
  bench::answer("ok %lld", static_cast<long long>(bench::now_ns()));
  bench::answer("%s", mitosis::describe(agent->resume(request)).c_str());
  return 125;
}
