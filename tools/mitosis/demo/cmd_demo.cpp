// SPDX-License-Identifier: MIT
// `mitosis demo`: remote fork shown on this machine, in half a minute. World: user.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <mitosis/policy/parse.hpp>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "../command.hpp"
#include "../option.hpp"
#include "demo.hpp"

namespace mitosis::tools {

namespace {

struct DemoArguments {
  DemoOptions demo;
  bool json = false;
  bool keep = false;
};

Result<std::string> parse_policy_text(std::string_view text) {
  const Result<PolicyName> name = parse_policy(text);
  if (!name) return name.error();
  return std::string(format(*name).c_str());
}

/// This very program, whatever it was called as.
std::string own_path() {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? "mitosis" : path.string();
}

/// Where the demo's program finds the Python module and the library: in the tree that this was
/// built in, while that is there; else where they are installed. $MITOSIS_LIBRARY goes first.
std::vector<std::string> program_environment() {
  if (::secure_getenv("MITOSIS_LIBRARY") != nullptr) {
    return {"PYTHONPATH=" MITOSIS_BUILT_PYTHON, "PYTHONDONTWRITEBYTECODE=1"};
  }
  if (!std::filesystem::exists(MITOSIS_BUILT_LIBRARY)) return {};
  return {"MITOSIS_LIBRARY=" MITOSIS_BUILT_LIBRARY, "PYTHONPATH=" MITOSIS_BUILT_PYTHON,
          "PYTHONDONTWRITEBYTECODE=1"};
}

int interrupted() {
  fmt::print(stderr, "mitosis demo: interrupted\n");
  return 128 + Interrupt::seen();
}

/// Until Ctrl-C.
void keep(Demo& demo) {
  testbed::TwoMachines& machines = demo.machines();
  fmt::print(
      "\nEverything stays until Ctrl-C. For example:\n"
      "  mitosis ps --socket {}\n"
      "  nsenter --net=/proc/{}/ns/net ip address\n",
      machines.child_agent().socket(), machines.child_agent().process().pid());
  std::fflush(stdout);
  while (Interrupt::seen() == 0) ::poll(nullptr, 0, 1000);
}

int run(DemoArguments& arguments) {
  if (::geteuid() != 0) {
    return fail("demo", Error(Errc::missing_privilege,
                              "run it as root: namespaces need CAP_SYS_ADMIN and CAP_NET_ADMIN, "
                              "agents CAP_SYS_PTRACE, CAP_DAC_OVERRIDE and CAP_KILL"));
  }
  arguments.demo.command = own_path();
  arguments.demo.program_environment = program_environment();
  ::signal(SIGPIPE, SIG_IGN);  // a program that died is an error with a name
  const Interrupt interrupt;
  Progress progress(arguments.json ? stderr : stdout);
  Demo demo(arguments.demo, progress);
  const Result<DemoReport> report = demo.run();
  progress.finish();
  if (Interrupt::seen() != 0) return interrupted();
  if (!demo.verdict().empty()) {
    fmt::print(stderr, "mitosis demo: WRONG: {}\n", demo.verdict());
    return exit_failed;
  }
  if (!report) return fail("demo", report.error());
  if (arguments.json) {
    fmt::print("{}\n", report->json().dump(2));
  } else {
    fmt::print("\n{}", report->text());
  }
  if (arguments.keep) keep(demo);
  const Result<void> finished = demo.finish();
  progress.finish();
  if (!arguments.keep && Interrupt::seen() != 0) return interrupted();
  return finished ? exit_ok : fail("demo", finished.error());
}

}  // namespace

Command add_demo(CLI::App& root) {
  CLI::App* app = root.add_subcommand("demo", "See it work: three children of a numpy program");
  app->footer(
      "Starts two agents in two network namespaces of this machine, a python3 + numpy program on\n"
      "the one, and resumes children of it on the other; checks every byte that they see; prints\n"
      "what it took beside a cold start of the same program. Needs root; leaves nothing behind.\n"
      "Exits with 0 when all children had the right data, else with 1.\n\n"
      "Examples:\n"
      "  mitosis demo\n"
      "  mitosis demo --size 1000 --children 5 --policy dct+prefetch64+local --json");
  auto arguments = std::make_shared<DemoArguments>();
  DemoOptions& demo = arguments->demo;
  demo.policy = "dct+prefetch32+local+cow";
  add_parsed(*app, "--policy", demo.policy, parse_policy_text, "see `mitosis policies`")
      ->type_name("NAME")
      ->default_str(demo.policy);
  app->add_option("--size", demo.size_mib, "the program's data, in MiB")
      ->type_name("MIB")
      ->check(CLI::Range(8, 65'536))
      ->capture_default_str();
  app->add_option("--children", demo.children, "how many")
      ->type_name("N")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app->add_option("--python", demo.python, "the interpreter; it must have numpy")
      ->type_name("PATH")
      ->capture_default_str();
  app->add_flag("--keep", arguments->keep, "leave the two machines running until Ctrl-C");
  add_json(*app, arguments->json);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
