// SPDX-License-Identifier: MIT
// `mitosis run`: an unmodified program of the original interface, without its kernel module.
// World: user.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "option.hpp"
#include "preloadable.hpp"
#include "values/policy.hpp"

namespace mitosis::tools {

namespace {

struct RunArguments {
  std::string socket, policy;
  std::vector<std::string> program;
};

/// As env(1): the program could not be run, or there is none.
enum RunStatus : int { exit_not_run = 126, exit_no_program = 127 };

/// Where the library that stands in for the device is: beside this command in the build tree, or
/// where both were installed to, wherever that was moved since.
std::string find_device_library() {
  std::error_code none;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  auto prefix = folder;
  for (const auto& part : std::filesystem::path(MITOSIS_BINDIR)) {
    if (!part.is_absolute()) prefix = prefix.parent_path();
  }
  const char* const name = "libmitosis-device.so";
  for (const auto& place : {folder / "device", prefix / MITOSIS_LIBDIR / "mitosis"}) {
    if (std::filesystem::exists(place / name, none)) return place / name;
  }
  return {};
}

/// The file that execvp(3) would run; empty: there is none.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const path = std::getenv("PATH");
  std::string_view left = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    const std::size_t end = left.find(':');
    const std::string_view folder = left.substr(0, end);
    std::string file = (folder.empty() ? "." : std::string(folder)) + "/" + name;
    if (::access(file.c_str(), X_OK) == 0) return file;
    if (end == std::string_view::npos) return {};
    left.remove_prefix(end + 1);
  }
}

/// Returns only on failure.
int run(RunArguments& arguments) {
  const std::string file = find_program(arguments.program.front());
  if (file.empty() || ::access(file.c_str(), F_OK) != 0) {
    fmt::print(stderr, "mitosis run: there is no program `{}`\n", arguments.program.front());
    return exit_no_program;
  }
  if (const auto fits = check_preloadable(file); !fits) {
    return fail("run", fits.error(), exit_not_run);
  }
  std::string preload = find_device_library();
  if (preload.empty()) {
    fmt::print(stderr,
               "mitosis run: libmitosis-device.so is not where this command was installed; "
               "install mitosis anew\n");
    return exit_not_run;
  }
  if (const char* const before = std::getenv("LD_PRELOAD"); before != nullptr && *before != '\0') {
    preload += std::string(":") + before;
  }
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  ::setenv("MITOSIS_SOCKET", arguments.socket.c_str(), 1);
  if (!arguments.policy.empty()) ::setenv("MITOSIS_POLICY", arguments.policy.c_str(), 1);
  std::vector<char*> argv;
  for (std::string& word : arguments.program) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(file.c_str(), argv.data());
  return fail("run", Error(Errc::system_call_failed, file.c_str(), errno).in("execute"),
              exit_not_run);
}

}  // namespace

Command add_run(CLI::App& root) {
  CLI::App* app = root.add_subcommand("run", "Run a program of the original interface");
  app->footer(
      "The program opens /dev/mitosis-syscalls, which need not be there, and uses its ioctls: "
      "Nil,\n"
      "Connect (gid: host:port), Prepare, PreparePing, ResumeLocal, ResumeRemote, NilRPC.\n"
      "It has no auth keys, so the agent of the machine where it prepares must run with "
      "--keyless.\n"
      "Exits as the program does; 126 when it cannot be run (it is static, set-uid, ...), 127 "
      "when\n"
      "there is none.\n\n"
      "Examples:\n"
      "  mitosis run -- ./connector -gid=10.0.0.1:7411 -mac_id=1 -nic_id=0\n"
      "  mitosis run -- ./simple_parent -handler_id=73\n"
      "  mitosis run --policy dct+prefetch32+local -- python3 simple_child.py");
  auto arguments = std::make_shared<RunArguments>();
  app->add_option("PROGRAM", arguments->program, "and its arguments, after --")
      ->type_name("PROGRAM ARGS...")
      ->required();
  add_parsed(*app, "--policy", arguments->policy, parse_compiled_policy,
             "for what it prepares and resumes; default: the agent's, the parent's")
      ->type_name("NAME");
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
