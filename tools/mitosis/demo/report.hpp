// SPDX-License-Identifier: MIT
// DemoReport: what a run of the demo measured, as a table and as JSON. World: user.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "../table.hpp"
#include "../values/show.hpp"

namespace mitosis::tools {

/// Times are milliseconds from the start of the command that resumed it (of /usr/bin/python3 for
/// the cold start), exec included.
struct ChildReport {
  int pid = 0;
  double resume_ms = 0;        ///< until its first line of Python ran
  double first_result_ms = 0;  ///< until the first request was answered
  std::uint64_t pages_total = 0;
  std::uint64_t pages_first = 0;  ///< fetched by the first result
  std::uint64_t pages_end = 0;    ///< fetched by the end, all data read
  std::uint64_t wire_first = 0;   ///< bytes between the machines by the first result
};

struct DemoReport {
  std::string policy;
  std::uint64_t size_mib = 0;
  double cold_start_ms = 0;
  double prepare_ms = 0;
  std::uint64_t wire_end = 0;  ///< bytes between the machines, of all children
  std::vector<ChildReport> children;

  [[nodiscard]] std::string text() const {
    Table table({"", ">resume", ">first result", ">faster", ">pages by then", ">on the wire",
                 ">pages in the end"});
    table.add({"cold start", "-", show_time(cold_start_ms), "1.0 x"});
    int number = 0;
    for (const ChildReport& child : children) {
      table.add({fmt::format("child {}", ++number), show_time(child.resume_ms),
                 show_time(child.first_result_ms),
                 fmt::format("{:.1f} x", cold_start_ms / child.first_result_ms),
                 fmt::format("{} of {}", child.pages_first, child.pages_total),
                 show_bytes(child.wire_first),
                 fmt::format("{} of {}", child.pages_end, child.pages_total)});
    }
    return fmt::format(
        "prepare: the parent paused for {} ({} MiB of data, policy {})\n\n{}\n"
        "Times run from exec to the program's own answer; the cold start imports, makes its data "
        "and answers.\nAll children have read all of the data in the end: {} on the wire for the "
        "{} of them.{}\n",
        show_time(prepare_ms), size_mib, policy, table.text(), show_bytes(wire_end),
        children.size(),
        shares_pages() ? "\nA page counts for the child that fetched it; the others take it from "
                         "the machine's cache."
                       : "");
  }

  [[nodiscard]] bool shares_pages() const { return policy.find("+local") != std::string::npos; }
  [[nodiscard]] nlohmann::json json() const {
    nlohmann::json list = nlohmann::json::array();
    for (const ChildReport& child : children) {
      list.push_back({{"pid", child.pid},
                      {"resume_ms", child.resume_ms},
                      {"first_result_ms", child.first_result_ms},
                      {"pages_total", child.pages_total},
                      {"pages_at_first_result", child.pages_first},
                      {"pages_in_the_end", child.pages_end},
                      {"wire_bytes_at_first_result", child.wire_first}});
    }
    return {{"policy", policy},
            {"size_mib", size_mib},
            {"prepare_ms", prepare_ms},
            {"cold_start_ms", cold_start_ms},
            {"wire_bytes_total", wire_end},
            {"children", list}};
  }
};

}  // namespace mitosis::tools
