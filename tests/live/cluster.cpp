// SPDX-License-Identifier: MIT
// See cluster.hpp. World: user.
#include "cluster.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "module.hpp"

namespace mitosis::live {

namespace {

/// `extra`, and what whoever runs these tests wants of all agents ($MITOSIS_LIVE_OPTIONS). Without
/// agents there is but a directory.
testbed::Machines make(std::uint32_t count, std::vector<std::string> extra) {
  testbed::remove_leftovers("mitosis-live");
  const char* const more = std::getenv("MITOSIS_LIVE_OPTIONS");
  std::istringstream words(more != nullptr ? more : "");
  for (std::string word; words >> word;) extra.push_back(word);
  auto machines = testbed::Machines::create({.command = MITOSIS_COMMAND,
                                             .count = module::is_tested() ? 0 : count,
                                             .prefix = "mitosis-live",
                                             .extra = extra});
  if (!machines) throw std::runtime_error(describe(machines.error()));
  return std::move(*machines);
}

void append(std::vector<std::string>& to, const std::vector<std::string>& words) {
  to.insert(to.end(), words.begin(), words.end());
}

/// Where a program's standard error goes that the test wants to read.
class Sink {
 public:
  Sink() : file_(::memfd_create("errors", MFD_CLOEXEC)) {}
  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::string text() const {
    std::ifstream file("/proc/self/fd/" + std::to_string(file_.get()));
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  UniqueFd file_;
};

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

Cluster::Cluster(std::uint32_t machines, std::vector<std::string> extra)
    : machines_(make(machines, std::move(extra))), count_(machines) {
  ::chmod(machines_.directory().path().c_str(), 0755);  // ordinary users call agents, too
}
Cluster::~Cluster() = default;

int Cluster::network(std::uint32_t k) const {
  return module::is_tested() ? -1 : machines_.network(k);
}

void Cluster::introduce(std::uint32_t at, std::uint32_t other) {
  if (module::is_tested()) return;  // who has loaded the modules has done so
  if (auto r = machines_.introduce(at, other); !r) throw std::runtime_error(describe(r.error()));
}

Puppet Cluster::puppet(std::uint32_t k, std::vector<std::string> as) {
  as.push_back(as.empty() ? LIVE_PUPPET : for_all_users(LIVE_PUPPET));
  if (module::is_tested()) {
    return Puppet::start(module::on(k, std::move(as)),
                         {"MITOSIS_PUPPET_DEVICE=/dev/mitosis-syscalls"}, network(k));
  }
  return Puppet::start(std::move(as), {"MITOSIS_SOCKET=" + machines_.socket(k)}, network(k));
}

Puppet Cluster::filled(std::uint32_t k, std::uint64_t pages, std::vector<std::string> as) {
  Puppet made = puppet(k, std::move(as));
  const std::string count = std::to_string(pages);
  made.tell("map " + count);
  made.tell("write 0 " + count);
  made.tell("probes " + count);
  for (int i = 0; i < 3; ++i) {
    const std::string answer = made.hear();
    if (split(answer).first != "ok") throw std::runtime_error("a new puppet: " + answer);
  }
  return made;
}

Prepared Cluster::prepare(std::uint32_t k, Puppet& puppet, const std::string& policy,
                          std::uint64_t handler) {
  Prepared made;
  made.machine = k;
  made.handler = handler != 0 ? handler : next_handler_++;
  const auto [word, rest] =
      split(puppet.ask("prepare " + std::to_string(made.handler) + " " + policy));
  (word == "parent" ? made.key : made.failure) = word == "error" ? split(rest).second : rest;
  if (made.key.empty() && made.failure.empty()) made.failure = word;
  return made;
}

Prepared Cluster::must_prepare(std::uint32_t k, Puppet& puppet, const std::string& policy) {
  Prepared made = prepare(k, puppet, policy);
  if (made.key.empty()) throw std::runtime_error("prepare: " + made.failure);
  return made;
}

Puppet Cluster::start_child(std::uint32_t k, const Prepared& parent, const std::string& policy,
                            std::vector<std::string> as, int errors) {
  const std::string handler = std::to_string(parent.handler);
  if (module::is_tested()) {
    return Puppet::start(
        module::call(k, {"resume", module::name_of(parent.machine), handler, parent.key}), {},
        network(k), errors);
  }
  const std::string command = as.empty() ? MITOSIS_COMMAND : for_all_users(MITOSIS_COMMAND);
  append(as, {command, "resume", std::to_string(parent.machine), handler});
  if (!policy.empty()) append(as, {"--policy", policy});
  return Puppet::start(std::move(as),
                       {"MITOSIS_SOCKET=" + machines_.socket(k), "MITOSIS_KEY=" + parent.key},
                       network(k), errors);
}

Puppet Cluster::child(std::uint32_t k, const Prepared& parent, const std::string& policy) {
  Puppet made = start_child(k, parent, policy);
  const std::string answer = made.hear();
  if (split(answer).first == "child") return made;
  throw std::runtime_error("a new child: " + answer + ", exit status " +
                           std::to_string(made.end(std::chrono::seconds(5))));
}

Outcome Cluster::refused_child(std::uint32_t k, const Prepared& parent, const std::string& policy,
                               std::vector<std::string> as) {
  const Sink errors;
  Puppet made = start_child(k, parent, policy, std::move(as), errors.fd());
  const std::string said = made.hear();
  const int status = made.end();
  return {status, (said == "ended" ? "" : said + "\n") + errors.text()};
}

Outcome Cluster::run(std::uint32_t k, std::vector<std::string> words, std::vector<std::string> as) {
  if (module::is_tested()) return run_program(k, module::call(k, std::move(words)));
  as.push_back(as.empty() ? MITOSIS_COMMAND : for_all_users(MITOSIS_COMMAND));
  append(as, words);
  return run_program(k, std::move(as));
}

Outcome Cluster::run_program(std::uint32_t k, std::vector<std::string> argv) {
  const Sink said;
  testbed::ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.environment = {"MITOSIS_SOCKET=" + machines_.socket(k)};
  spec.network = network(k);
  spec.out = spec.err = said.fd();
  auto process = testbed::Process::start(spec);
  if (!process) throw std::runtime_error(describe(process.error()));
  const auto status = process->wait(Clock::now() + patience);
  return {status ? testbed::shell_status(*status) : -1, said.text()};
}

std::vector<int> Cluster::strangers(std::uint32_t k) {
  std::vector<int> pids = testbed::processes_in(machines_.network(k));
  std::vector<int> own;
  if (machines_.has_agent(k)) {
    const int keeper = machines_.agent(k).process().pid();
    own = {keeper};
    for (const int pid : testbed::children_of(keeper)) {
      const std::string name = testbed::name_of(pid);
      if (name == "mitosis-worker" || name == "mitosis-guard") own.push_back(pid);
    }
  }
  std::erase_if(pids, [&](int pid) {
    return std::find(own.begin(), own.end(), pid) != own.end() || testbed::state_of(pid) == '\0';
  });
  for (const int keeper : own) {  // zombies are in no namespace
    for (const int pid : testbed::children_of(keeper)) {
      if (testbed::state_of(pid) == 'Z') pids.push_back(pid);
    }
  }
  return pids;
}

std::string Cluster::left_on(std::uint32_t k) {
  if (module::is_tested()) {
    const std::string said = run_program(k, module::call(k, {"statistics"})).text;
    return said.starts_with("prepared=0 pages=0 children=0 ") ? "" : said;
  }
  const std::vector<int> pids = strangers(k);
  return pids.empty() ? "" : testbed::describe_processes(pids);
}

std::string Cluster::wait_until_clean(std::chrono::milliseconds limit) {
  std::string left;
  eventually(
      [&] {
        left.clear();
        for (std::uint32_t k = 1; k <= count_; ++k) {
          const std::string here = left_on(k);
          if (!here.empty()) left += "machine " + std::to_string(k) + ": " + here + "; ";
        }
        return left.empty();
      },
      limit);
  return left;
}

std::string Cluster::for_all_users(const std::string& path) {
  namespace fs = std::filesystem;
  const fs::path copy = fs::path(machines_.directory().path()) / fs::path(path).filename();
  if (!fs::exists(copy)) {
    fs::copy_file(path, copy);
    fs::permissions(copy, fs::perms(0755));
  }
  return copy;
}

}  // namespace mitosis::live
