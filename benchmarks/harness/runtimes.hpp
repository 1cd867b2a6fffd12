// SPDX-License-Identifier: MIT
// The java and the node program of the bars, which know nothing of mitosis. World: user.
// Their main thread sleeps in read(2) of their stdin: a child's first instruction is that call made
// anew, with the child's own stdin, so that the one at its other end sees when it is done.
#pragma once

#include <harness/build_file.hpp>
#include <harness/scene.hpp>
#include <testbed/process.hpp>
#include <testbed/temp_dir.hpp>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>

namespace bench {

inline constexpr int java_threads = 22;

/// Ends its JVM before its class goes.
struct JavaParent {
  testbed::TempDir classes;
  Talker program;
};

/// Nothing where there is no java here; says so.
inline std::optional<JavaParent> start_java_parent(Scene& scene) {
  auto classes = testbed::TempDir::create("mitosis-bench-java");
  if (!classes) return std::nullopt;
  testbed::ProcessSpec compile;
  compile.argv = {"/usr/bin/javac", "-d", classes->path(), build_file("benchmarks/Idle.java")};
  compile.err = STDERR_FILENO;
  auto compiler = testbed::Process::start(compile);
  if (!compiler) return std::nullopt;
  const auto status = compiler->wait(std::chrono::steady_clock::now() + Talker::patience);
  if (status != 0) {
    ::dprintf(STDERR_FILENO, "benchmark: javac (default-jdk-headless) failed\n");
    return std::nullopt;
  }
  auto program = scene.start_parent({"/usr/bin/java", "-XX:+UseG1GC", "-Xmx256m", "-cp",
                                     classes->path(), "Idle", std::to_string(java_threads)});
  if (!program) return std::nullopt;
  return JavaParent{std::move(*classes), std::move(*program)};
}

inline std::optional<Talker> start_node_parent(Scene& scene) {
  return scene.start_parent({"/usr/bin/node", build_file("benchmarks/idle.js")});
}

}  // namespace bench
