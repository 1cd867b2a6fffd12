// SPDX-License-Identifier: MIT
// What the reading side of dynamic connections has more of after 1,000 peers than after 32: nothing
// is to grow with peers. On devices of memory, since no machine of ours has such hardware; the
// device's own memory, so many initiators and ways, is counted by its tests. World: user.
#include <malloc.h>

#include <harness/bar.hpp>
#include <mitosis/net/verbs/dct/memory_device.hpp>
#include <mitosis/net/verbs/dct/reads.hpp>
#include <mitosis/net/verbs/dct/targets.hpp>

#include <cstdio>
#include <optional>
#include <vector>

namespace {

using namespace mitosis;
using namespace mitosis::verbs;

constexpr std::uint32_t peers = 1000, few = 32, page = 4096, remote_key = 9;

DcPort port_of(std::uint32_t machine) {
  DcPort port;
  port.gid[14] = static_cast<std::uint8_t>(machine >> 8);
  port.gid[15] = static_cast<std::uint8_t>(machine);
  return port;
}
double heap_bytes() {
  return static_cast<double>(::mallinfo2().uordblks);
}

/// Growth, and all that the reading side has.
std::optional<bench::Measured> measure() {
  MemoryDevices all;
  std::vector<TargetName> names;
  std::vector<MemoryDevice> owners;
  std::vector<DcTargets<MemoryDevice>> targets;
  owners.reserve(peers + 1);
  for (std::uint32_t machine = 0; machine <= peers; ++machine) {
    owners.emplace_back(all, port_of(machine));
    targets.emplace_back(owners.back(), 1);
    names.push_back(*targets.back().create());
    all.port(port_of(machine)).regions[remote_key].resize(page);
  }
  MemoryDevice device(all, port_of(peers + 1));
  std::vector<std::uint8_t> memory(page);
  const double before = heap_bytes();
  auto reads = DcReads<MemoryDevice>::make(device);
  if (!reads.ok()) return std::nullopt;
  double after_few = 0;
  for (std::uint32_t machine = 1; machine <= peers; ++machine) {
    for (const Lane lane : {Lane::demand, Lane::bulk}) {
      DcRead read;
      read.request.peer = MachineId{machine};
      read.request.target = names[machine];
      read.request.bytes = page;
      read.request.lane = lane;
      read.request.into = {memory.data(), 1};
      read.port = port_of(machine);
      read.from = {0, page, remote_key};
      (*reads)->post(Span<const DcRead>(&read, 1));
      ReadCompletion done;
      if ((*reads)->poll(Span<ReadCompletion>(&done, 1), Time{1}) != 1 || done.status != Errc::ok) {
        std::fprintf(stderr, "benchmark: a read of machine %u failed\n", machine);
        return std::nullopt;
      }
    }
    if (machine == few) after_few = heap_bytes();
  }
  return bench::Measured{heap_bytes() - after_few, (heap_bytes() - before) / 1024};
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bench::add_bar("dct_memory", 3, measure);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
