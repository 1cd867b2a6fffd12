// SPDX-License-Identifier: MIT
// The demo's steps, in the order of the story. World: user. Included by demo.hpp only.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "demo.hpp"
#include "parent_script.hpp"

namespace mitosis::tools {

// ---- 1. Two machines ------------------------------------------------------------------------

inline Result<void> Demo::make_machines() {
  progress_.step("two machines, each a network namespace with an agent");
  testbed::remove_leftovers(DemoOptions::directory_prefix);
  const testbed::TestbedSpec spec{options_.command, DemoOptions::directory_prefix, {}};
  auto machines = testbed::TwoMachines::create(spec);
  if (!machines) return machines.error();
  machines_.emplace(std::move(*machines));
  std::ofstream script(machines_->directory().file("parent.py"));
  script << parent_script;
  script.close();
  if (!script) return Error(Errc::system_call_failed, "write parent.py", errno);
  progress_.done("10.77.0.1 and 10.77.0.2");
  return {};
}

// ---- 2. The program -------------------------------------------------------------------------

inline testbed::ProcessSpec Demo::python() {
  testbed::ProcessSpec spec;
  spec.argv = {options_.python, machines_->directory().file("parent.py"),
               std::to_string(options_.size_mib)};
  spec.environment = options_.program_environment;
  spec.environment.push_back("MITOSIS_SOCKET=" + machines_->parent_agent().socket());
  // Threads that BLAS starts would have to be prepared, too, and that is not there yet.
  for (const char* library : {"OPENBLAS", "OMP", "MKL"}) {
    spec.environment.push_back(fmt::format("{}_NUM_THREADS=1", library));
  }
  spec.network = machines_->networks().parent.fd();
  return spec;
}

/// Two cold starts: the first finds python and numpy on the disk perhaps, the second in memory, as
/// a machine does that starts the same program all the time. One where the machine is so busy that
/// the demo would take too long.
inline Result<void> Demo::start_parent() {
  for (const char* step : {"cold start: python3, numpy, {} MiB of data, a first result",
                           "again, with all files in memory"}) {
    if (report_.cold_start_ms > slow_start_ms) break;  // it was hardly the disk
    progress_.step(fmt::format(fmt::runtime(step), options_.size_mib));
    parent_.reset();
    auto program =
        Program::start("the parent program", python(), machines_->directory().file("parent.log"));
    if (!program) return program.error();
    parent_.emplace(std::move(*program));
    const auto answer = parent_->ask("request");
    if (!answer) return answer.error();
    report_.cold_start_ms = parent_->ms_until(answer->at("at").get<double>());
    progress_.done(show_time(report_.cold_start_ms));
  }
  for (; counter_ < 3; ++counter_) {
    if (auto ticked = parent_->ask("tick 0 8"); !ticked) return ticked.error();
  }
  return {};
}

// ---- 3. Prepare -----------------------------------------------------------------------------

inline Result<void> Demo::prepare() {
  progress_.step("the program prepares itself, its counter at " + std::to_string(counter_));
  auto answer = parent_->ask(fmt::format("prepare {} {}", handler, options_.policy));
  if (!answer) return answer.error();
  prepared_ = std::move(*answer);
  report_.prepare_ms = prepared_.at("seconds").get<double>() * 1e3;
  std::ofstream key(machines_->directory().file("key"));  // in a directory of mode 0700
  key << prepared_.at("key").get<std::string>() << "\n";
  progress_.done("paused for " + show_time(report_.prepare_ms));
  wire_before_ = machines_->traffic().received + machines_->traffic().sent;
  return {};
}

// ---- 4. Resume ------------------------------------------------------------------------------

inline std::uint64_t Demo::wire_bytes() const {
  const testbed::Traffic traffic = machines_->traffic();
  return traffic.received + traffic.sent - wire_before_;
}

inline Result<void> Demo::resume(unsigned number) {
  progress_.step(fmt::format("child {}: mitosis resume 1 {}", number, handler));
  const std::uint64_t wire = wire_bytes();
  testbed::ProcessSpec spec;
  spec.argv = {options_.command,
               "resume",
               "1",
               std::to_string(handler),
               "--policy",
               options_.policy,
               "--key-file",
               machines_->directory().file("key"),
               "--socket",
               machines_->child_agent().socket()};
  spec.network = machines_->networks().child.fd();
  auto started = Program::start(fmt::format("child {}", number), spec,
                                machines_->directory().file(fmt::format("child{}.log", number)));
  if (!started) return started.error();
  Program& child = children_.emplace_back(std::move(*started));
  const auto first = child.answer();
  if (!first) return first.error();
  const auto result = child.ask("request");
  if (!result) return result.error();
  if (first->at("counter").get<int>() != counter_) {
    return wrong(fmt::format("child {} goes on from another counter: {}", number, first->dump()));
  }
  auto row = row_of(child);
  if (!row) return row.error();
  ChildReport measured;
  measured.pid = child.pid();
  measured.resume_ms = child.ms_until(first->at("resumed_at").get<double>());
  measured.first_result_ms = child.ms_until(result->at("at").get<double>());
  measured.pages_total = row->pages_total;
  measured.pages_first = row->pages_fetched;
  measured.wire_first = wire_bytes() - wire;
  report_.children.push_back(measured);
  progress_.done(fmt::format("runs after {}, first result after {}", show_time(measured.resume_ms),
                             show_time(measured.first_result_ms)));
  return {};
}

inline Result<local::ListRow> Demo::row_of(const Program& child) {
  const auto agent = machines_->child_agent().connect();
  if (!agent) return agent.error();
  auto rows = list_all(*agent, local::within(std::chrono::seconds(10)));
  if (!rows) return rows.error();
  for (local::ListRow& row : *rows) {
    if (row.kind == local::RowKind::child && row.pid == child.pid()) return std::move(row);
  }
  return Error(Errc::child_died, "the agent does not list it").in("ps");
}

// ---- 5. Side by side ------------------------------------------------------------------------

inline Result<void> Demo::compare() {
  std::string head = fmt::format("\n{:6}{:>13}{:>21}", "part", "as prepared", "parent");
  for (unsigned i = 1; i <= children_.size(); ++i) {
    head += fmt::format("{:>18}", fmt::format("child {}", i));
  }
  progress_.say(head);
  for (unsigned part = 0; part < parts; ++part) {
    if (auto same = show_part(part); !same) return same;
  }
  progress_.say("");
  return {};
}

/// All count at once; the parent changes the part first, the children must not see that.
inline Result<void> Demo::show_part(unsigned part) {
  const std::string tick = fmt::format("tick {} {}", part, parts);
  ++counter_;
  if (auto said = parent_->say(tick); !said) return said;
  for (Program& child : children_) {
    if (auto said = child.say(tick); !said) return said;
  }
  const auto expected = prepared_.at("parts").at(part).get<std::uint32_t>();
  std::string row = fmt::format("{:6}     {:08x}", fmt::format("{}/{}", part + 1, parts), expected);
  const auto parent = parent_->answer();
  if (!parent) return parent.error();
  const auto changed = parent->at("checksum").get<std::uint32_t>();
  row += fmt::format("{:>7}: {:08x} new", parent->at("counter").get<int>(), changed);
  if (changed == expected) return wrong("the parent's own change is not there");
  for (Program& child : children_) {
    const auto answer = child.answer();
    if (!answer) return answer.error();
    const int counter = answer->at("counter").get<int>();
    const auto checksum = answer->at("checksum").get<std::uint32_t>();
    if (checksum != expected || counter != counter_) {
      progress_.say(row);
      return wrong(fmt::format("pid {}: counter {}, checksum {:08x}; must be {} and {:08x}",
                               child.pid(), counter, checksum, counter_, expected));
    }
    row += fmt::format("{:>5}: {:08x} ok", counter, checksum);
  }
  progress_.say(row);
  return {};
}

// ---- 6. Verify ------------------------------------------------------------------------------

inline Result<void> Demo::verify() {
  progress_.step("every child checks all of its data again");
  for (Program& child : children_) {
    if (auto said = child.say("verify"); !said) return said;
  }
  const auto expected = prepared_.at("whole").get<std::uint32_t>();
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const auto answer = children_[i].answer();
    if (!answer) return answer.error();
    if (answer->at("checksum").get<std::uint32_t>() != expected) {
      return wrong(fmt::format("child {}: the data is not as prepared: {}", i + 1, answer->dump()));
    }
    auto row = row_of(children_[i]);
    if (!row) return row.error();
    report_.children[i].pages_end = row->pages_fetched;
  }
  report_.wire_end = wire_bytes();
  progress_.done(fmt::format("{:08x}, as prepared", expected));
  return {};
}

// ---- 7. The end -----------------------------------------------------------------------------

inline Result<void> Demo::finish() {
  progress_.step("children, image and parent end");
  for (Program& child : children_) {
    if (auto ended = child.quit(); !ended) return ended;
  }
  const auto agent = machines_->parent_agent().connect();
  if (!agent) return agent.error();
  local::Reclaim request;
  request.handler = HandlerId{handler};
  const auto done = agent->call<local::Done>(request, local::within(std::chrono::seconds(10)));
  if (!done) return done.error();
  if (auto ended = parent_->quit(); !ended) return ended;
  progress_.done();
  return {};
}

}  // namespace mitosis::tools
