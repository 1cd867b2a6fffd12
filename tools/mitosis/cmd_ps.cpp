// SPDX-License-Identifier: MIT
// `mitosis ps`: prepared parents and running children of this machine, the agent's and the kernel
// module's. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent_calls.hpp"
#include "command.hpp"
#include "option.hpp"
#include "sources.hpp"
#include "table.hpp"
#include "values/show.hpp"

namespace mitosis::tools {

namespace {

struct PsArguments {
  std::string socket;
  bool json = false;
};

/// Whom a row is of.
struct Row : local::ListRow {
  const char* from = "agent";
};

nlohmann::json as_json(const Row& row) {
  nlohmann::json out = {{"from", row.from},
                        {"kind", row.kind == local::RowKind::parent ? "parent" : "child"},
                        {"pid", row.pid},
                        {"handler", static_cast<std::uint64_t>(row.handler)},
                        {"generation", static_cast<std::uint64_t>(row.generation)},
                        {"policy", row.policy},
                        {"state", row.state},
                        {"name", row.name},
                        {"uid", row.owner_uid},
                        {"pages_total", row.pages_total},
                        {"bytes", row.bytes},
                        {"age_ms", row.age_ms}};
  out[row.kind == local::RowKind::parent ? "pages_served" : "pages_fetched"] = row.pages_fetched;
  if (row.machine != MachineId::none) out["machine"] = static_cast<std::uint32_t>(row.machine);
  return out;
}

std::string as_table(const std::vector<Row>& rows) {
  Table table({"FROM", "KIND", ">PID", ">HANDLER", ">MACHINE", "STATE", "POLICY", ">UID", ">PAGES",
               ">MOVED", ">WIRE", ">AGE", "NAME"});
  for (const Row& row : rows) {
    const bool parent = row.kind == local::RowKind::parent;
    const bool elsewhere = row.machine != MachineId::none;
    table.add({row.from, parent ? "parent" : "child", std::to_string(row.pid),
               std::to_string(static_cast<std::uint64_t>(row.handler)),
               elsewhere ? std::to_string(static_cast<std::uint32_t>(row.machine)) : "-", row.state,
               row.policy, std::to_string(row.owner_uid), std::to_string(row.pages_total),
               std::to_string(row.pages_fetched), show_bytes(row.bytes),
               show_time(static_cast<double>(row.age_ms)), row.name});
  }
  return table.text();
}

Result<void> add_agents(const local::Channel& agent, std::vector<Row>& rows) {
  auto listed = list_all(agent, local::within(std::chrono::seconds(10)));
  if (!listed) return listed.error();
  for (local::ListRow& row : *listed) rows.push_back(Row{std::move(row)});
  return {};
}

/// What has no number there, has none here: the module does not count pages by handler.
Result<void> add_modules(const KernelModule& module, std::vector<Row>& rows) {
  const auto listed = module.list();
  if (!listed) return listed.error();
  for (const mitosis_entry& entry : listed->entries) {
    Row row;
    row.from = "module";
    row.pid = static_cast<std::int32_t>(entry.pid);
    row.handler = HandlerId{entry.handler};
    row.generation = Generation{entry.generation};
    row.policy = listed->policy;
    row.state = "ready";
    row.name.assign(entry.name, ::strnlen(entry.name, sizeof entry.name));
    row.owner_uid = entry.uid;
    row.pages_total = entry.pages;
    row.age_ms = entry.age_seconds * std::uint64_t{1000};
    rows.push_back(std::move(row));
  }
  return {};
}

int run(const PsArguments& arguments) {
  std::vector<Row> rows;
  const auto sources = Sources::open(arguments.socket);
  if (!sources) return fail("ps", sources.error());
  if (sources->agent) {
    const auto added = add_agents(*sources->agent, rows);
    if (!added) return fail("ps", added.error());
  }
  if (sources->module) {
    const auto added = add_modules(*sources->module, rows);
    if (!added) return fail("ps", added.error());
  }
  if (!arguments.json) {
    fmt::print("{}", as_table(rows));
    return exit_ok;
  }
  nlohmann::json out = nlohmann::json::array();
  for (const Row& row : rows) out.push_back(as_json(row));
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return exit_ok;
}

}  // namespace

Command add_ps(CLI::App& root) {
  CLI::App* app = root.add_subcommand("ps", "List prepared parents and running children");
  app->footer(
      "Your own; root sees everybody's. FROM is who has it: the agent, or the kernel module where\n"
      "it is loaded. PID and NAME are the process's own, of a parent that has exited those that "
      "it\n"
      "had (the module: 0, and the name as of prepare). MACHINE is where a child's parent was "
      "prepared; PAGES is\n"
      "how many the image has, MOVED how many of them a child has fetched so far (a parent:\n"
      "served), WIRE the bytes that took; the module does not count them, nor list its children.\n"
      "Exits with 0 when the agent or the module answered, else with 1.\n\n"
      "Example:\n"
      "  mitosis ps --json");
  auto arguments = std::make_shared<PsArguments>();
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
