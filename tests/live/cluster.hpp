// SPDX-License-Identifier: MIT
// Cluster: what a live test does with its machines, in a line each. World: user.
// The methods throw std::runtime_error where they cannot do their own work; GoogleTest reports that
// as the test's failure. The product's answers are returned, for the test to judge.
// The product is an agent on each machine, or mitosis.ko (module.hpp): tests of what both do run on
// either.
#pragma once

#include <testbed/machines.hpp>
#include <testbed/proc.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "puppet.hpp"

namespace mitosis::live {

/// A prepared parent, or why there is none.
struct Prepared {
  std::uint32_t machine = 0;
  std::uint64_t handler = 0;
  std::string key;      ///< as text; empty where prepare failed
  std::string failure;  ///< the sentence
};

/// How a command ended: its exit status and what it said on both streams.
struct Outcome {
  int status = -1;
  std::string text;
};

class Cluster {
 public:
  explicit Cluster(std::uint32_t machines = 2, std::vector<std::string> extra = {});
  /// Ends every machine.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] testbed::Machines& machines() noexcept { return machines_; }
  /// Machine `at` gets to know `other`.
  void introduce(std::uint32_t at, std::uint32_t other);

  /// A new puppet on machine k. `as`: words before its own, as {"/usr/bin/setpriv", ...}.
  Puppet puppet(std::uint32_t k, std::vector<std::string> as = {});
  /// A puppet with an area of `pages` pages, all written, and with its probes set.
  Puppet filled(std::uint32_t k, std::uint64_t pages, std::vector<std::string> as = {});
  /// Has it prepare itself under a handler that nobody else uses (or `handler`, if not 0).
  Prepared prepare(std::uint32_t k, Puppet& puppet, const std::string& policy = "",
                   std::uint64_t handler = 0);
  /// The same where the failure of it is the test's: throws.
  Prepared must_prepare(std::uint32_t k, Puppet& puppet, const std::string& policy = "");

  /// `mitosis resume` on machine k, whose process the child takes over. What it says on standard
  /// error goes to `errors`, or to ours.
  Puppet start_child(std::uint32_t k, const Prepared& parent, const std::string& policy = "",
                     std::vector<std::string> as = {}, int errors = 2);
  /// Waits for its first word; throws where that is not "child".
  Puppet child(std::uint32_t k, const Prepared& parent, const std::string& policy = "");
  /// A child that cannot be: the command's exit status and reason.
  Outcome refused_child(std::uint32_t k, const Prepared& parent, const std::string& policy = "",
                        std::vector<std::string> as = {});

  /// `mitosis WORDS...` on machine k, with its agent's socket.
  Outcome run(std::uint32_t k, std::vector<std::string> words, std::vector<std::string> as = {});
  /// Any other program there.
  Outcome run_program(std::uint32_t k, std::vector<std::string> argv);

  /// Processes on machine k other than its agent's own three.
  std::vector<int> strangers(std::uint32_t k);
  /// "" once there are none on any machine, or those that are left after the deadline. Of the
  /// module: parents and children.
  std::string wait_until_clean(std::chrono::milliseconds limit = patience);
  /// A path that every user may use: a directory in which programs are copied for them.
  std::string for_all_users(const std::string& path);

 private:
  [[nodiscard]] int network(std::uint32_t k) const;
  /// What a test has left on machine k; "" if nothing.
  std::string left_on(std::uint32_t k);

  testbed::Machines machines_;
  std::uint32_t count_;
  std::uint64_t next_handler_ = 1;
};

/// Whether `condition` came true before the deadline; looks every few milliseconds.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = patience);

}  // namespace mitosis::live
