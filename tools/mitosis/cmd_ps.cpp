// SPDX-License-Identifier: MIT
// `mitosis ps`: prepared parents and running children of this machine. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent_calls.hpp"
#include "command.hpp"
#include "option.hpp"
#include "table.hpp"
#include "values/show.hpp"

namespace mitosis::tools {

namespace {

struct PsArguments {
  std::string socket;
  bool json = false;
};

nlohmann::json as_json(const local::ListRow& row) {
  nlohmann::json out = {{"kind", row.kind == local::RowKind::parent ? "parent" : "child"},
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

std::string as_table(const std::vector<local::ListRow>& rows) {
  Table table({"KIND", ">PID", ">HANDLER", ">MACHINE", "STATE", "POLICY", ">UID", ">PAGES",
               ">MOVED", ">WIRE", ">AGE", "NAME"});
  for (const local::ListRow& row : rows) {
    const bool parent = row.kind == local::RowKind::parent;
    const bool elsewhere = row.machine != MachineId::none;
    table.add({parent ? "parent" : "child", std::to_string(row.pid),
               std::to_string(static_cast<std::uint64_t>(row.handler)),
               elsewhere ? std::to_string(static_cast<std::uint32_t>(row.machine)) : "-", row.state,
               row.policy, std::to_string(row.owner_uid), std::to_string(row.pages_total),
               std::to_string(row.pages_fetched), show_bytes(row.bytes),
               show_time(static_cast<double>(row.age_ms)), row.name});
  }
  return table.text();
}

int run(const PsArguments& arguments) {
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("ps", agent.error());
  const auto rows = list_all(*agent, local::within(std::chrono::seconds(10)));
  if (!rows) return fail("ps", rows.error());
  if (!arguments.json) {
    fmt::print("{}", as_table(*rows));
    return exit_ok;
  }
  nlohmann::json out = nlohmann::json::array();
  for (const local::ListRow& row : *rows) out.push_back(as_json(row));
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return exit_ok;
}

}  // namespace

Command add_ps(CLI::App& root) {
  CLI::App* app = root.add_subcommand("ps", "List prepared parents and running children");
  app->footer(
      "Your own; root sees everybody's. PID and NAME are the process's own, of a parent that has\n"
      "exited those that it had. MACHINE is where a child's parent was prepared; PAGES is\n"
      "how many the image has, MOVED how many of them a child has fetched so far (a parent:\n"
      "served), WIRE the bytes that took.\n"
      "Exits with 0 when the agent answered, else with 1.\n\n"
      "Example:\n"
      "  mitosis ps --json");
  auto arguments = std::make_shared<PsArguments>();
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
