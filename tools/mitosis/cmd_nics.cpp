// SPDX-License-Identifier: MIT
// `mitosis nics`: the RDMA devices of this machine, their ports and gids, which one an agent would
// choose, and why another is of no use. World: user.
#include <fmt/format.h>

#include <mitosis/net/verbs/device_choice.hpp>
#ifdef MITOSIS_RDMA
#include <mitosis/net/verbs/device_list.hpp>
#endif

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "option.hpp"
#include "table.hpp"

namespace mitosis::tools {

namespace {

using nlohmann::json;

#ifdef MITOSIS_RDMA
std::vector<verbs::DeviceFacts> list_devices() {
  return verbs::list_devices();
}
std::string why_no_device() {
  return verbs::why_no_device();
}
#else
std::vector<verbs::DeviceFacts> list_devices() {
  return {};
}
std::string why_no_device() {
  return "This mitosis was built without RDMA: install libibverbs-dev and librdmacm-dev, then "
         "`meson configure -Drdma=enabled`.";
}
#endif

/// Why a gid is of no use, with what it hangs on: its device's reason, its port's, its own.
std::string reason(const verbs::DeviceFacts& device, const verbs::PortFacts& port,
                   const verbs::GidFacts& gid) {
  std::string why = verbs::why_unusable(device);
  if (why.empty()) why = verbs::why_unusable(port);
  if (why.empty()) why = verbs::why_unusable(gid);
  return why;
}

bool is_chosen(const Result<verbs::ChosenGid>& chosen, const verbs::DeviceFacts& device,
               const verbs::PortFacts& port, const verbs::GidFacts& gid) {
  return chosen.ok() && chosen->device == device.name && chosen->port == port.number &&
         chosen->gid.index == gid.index;
}

json to_json(const verbs::DeviceLimits& limits) {
  return {{"queue_pairs", limits.queue_pairs},
          {"work_requests", limits.work_requests},
          {"completion_queues", limits.completion_queues},
          {"regions", limits.regions},
          {"region_bytes", limits.region_bytes},
          {"reads_in_flight", limits.reads_in_flight},
          {"reads_in_flight_served", limits.reads_in_flight_served}};
}

/// `why` is null where it is usable.
json or_null(const std::string& why) {
  return why.empty() ? json(nullptr) : json(why);
}

json to_json(const verbs::DeviceFacts& device, const Result<verbs::ChosenGid>& chosen) {
  json ports = json::array();
  for (const verbs::PortFacts& port : device.ports) {
    json gids = json::array();
    for (const verbs::GidFacts& gid : port.gids) {
      gids.push_back({{"index", gid.index},
                      {"type", verbs::type_name(gid.type)},
                      {"gid", verbs::gid_text(gid.bytes)},
                      {"address", verbs::address_text(gid)},
                      {"interface", gid.interface},
                      {"unusable", or_null(reason(device, port, gid))},
                      {"chosen", is_chosen(chosen, device, port, gid)}});
    }
    ports.push_back({{"port", port.number},
                     {"state", port.state},
                     {"link_layer", port.link_layer},
                     {"mtu", port.mtu},
                     {"gigabits", port.gigabits},
                     {"lid", port.lid},
                     {"unusable", or_null(verbs::why_unusable(port))},
                     {"gids", gids}});
  }
  return {{"device", device.name},
          {"driver", device.driver},
          {"on_demand_paging", device.on_demand_paging},
          {"may_do_dct", device.may_do_dct},
          {"unusable", or_null(verbs::why_unusable(device))},
          {"limits", to_json(device.limits)},
          {"ports", ports}};
}

void print_json(const std::vector<verbs::DeviceFacts>& devices,
                const Result<verbs::ChosenGid>& chosen) {
  json list = json::array();
  for (const verbs::DeviceFacts& device : devices) list.push_back(to_json(device, chosen));
  const json out = {{"devices", list},
                    {"none_because", devices.empty() ? json(why_no_device()) : json(nullptr)}};
  fmt::print("{}\n", out.dump(2));
}

void print_limits(const verbs::DeviceFacts& device) {
  const verbs::DeviceLimits& limits = device.limits;
  fmt::print(
      "{}: {} queue pairs of {} requests, {} regions, {} reads in flight each, {} served{}{}\n",
      device.name, limits.queue_pairs, limits.work_requests, limits.regions, limits.reads_in_flight,
      limits.reads_in_flight_served, device.on_demand_paging ? ", on-demand paging" : "",
      device.may_do_dct ? ", dynamic connections by its driver" : ", no dynamic connections");
}

void print_text(const std::vector<verbs::DeviceFacts>& devices,
                const Result<verbs::ChosenGid>& chosen) {
  if (devices.empty()) {
    fmt::print("{}\n", why_no_device());
    return;
  }
  Table table({"DEVICE", ">PORT", "LINK", ">MTU", ">GID", "TYPE", "ADDRESS", "INTERFACE", "USE"});
  for (const verbs::DeviceFacts& device : devices) {
    if (device.ports.empty()) {
      table.add({device.name, "", "", "", "", "", "", "", "no: " + verbs::why_unusable(device)});
    }
    for (const verbs::PortFacts& port : device.ports) {
      const std::string number = std::to_string(port.number);
      const std::string mtu = std::to_string(port.mtu);
      if (port.gids.empty()) {
        table.add({device.name, number, port.state, mtu, "", "", "", "",
                   "no: " + verbs::why_unusable(port)});
      }
      for (const verbs::GidFacts& gid : port.gids) {
        const std::string why = reason(device, port, gid);
        table.add({device.name, number, port.state, mtu, std::to_string(gid.index),
                   verbs::type_name(gid.type), verbs::address_text(gid), gid.interface,
                   !why.empty()                           ? "no: " + why
                   : is_chosen(chosen, device, port, gid) ? "yes, chosen"
                                                          : "yes"});
      }
    }
  }
  fmt::print("{}", table.text());
  for (const verbs::DeviceFacts& device : devices) {
    if (device.broken.empty()) print_limits(device);
  }
}

}  // namespace

Command add_nics(CLI::App& root) {
  CLI::App* app = root.add_subcommand("nics", "List this machine's RDMA devices, ports and gids");
  app->footer(
      "USE tells which gid an agent would choose by itself, and why another cannot be used.\n"
      "Exits with 0 also where there is none.\n\n"
      "Example:\n"
      "  mitosis nics --json | jq -r '.devices[].device'");
  auto as_json = std::make_shared<bool>(false);
  add_json(*app, *as_json);
  return {app, [as_json]() -> int {
            const std::vector<verbs::DeviceFacts> devices = list_devices();
            const Result<verbs::ChosenGid> chosen = verbs::choose(devices, {});
            if (*as_json) {
              print_json(devices, chosen);
            } else {
              print_text(devices, chosen);
            }
            return exit_ok;
          }};
}

}  // namespace mitosis::tools
