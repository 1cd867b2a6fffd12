// SPDX-License-Identifier: MIT
// Bar: a child reads 256 MiB in order; floor: the slower of streaming them over loopback TCP and of
// installing them by UFFDIO_COPY. World: user.
#include <floors/tcp_stream.hpp>
#include <floors/uffd_copy.hpp>
#include <harness/bar.hpp>
#include <harness/origin.hpp>

#include <memory>

namespace {

using namespace bench;

constexpr std::size_t mebibytes = 256;

/// Milliseconds. With Eager all pages come before the first instruction, so there the clock runs
/// from the call of resume; else from the first read.
std::optional<Measured> read_all(Scene& scene, Origin& origin, bool eager) {
  const Handle* handle = origin.get();
  const auto stream = tcp_stream_ns(mebibytes * mib);
  const auto install = best_uffd_copy_ns(mebibytes * mib);
  if (handle == nullptr || !stream || !install) return std::nullopt;
  std::int64_t first = 0;
  auto child = scene.resume(*handle, origin.policy(), first);
  if (!child) return std::nullopt;
  const auto scan = child->program.ask("scan");
  if (!scan || scan->size() != 3 || (*scan)[2] != "0" || !child->program.finish()) return {};
  const std::int64_t start = std::strtoll((*scan)[0].c_str(), nullptr, 10);
  const std::int64_t end = std::strtoll((*scan)[1].c_str(), nullptr, 10);
  const std::int64_t took = end - start + (eager ? first - child->called_ns : 0);
  return Measured{static_cast<double>(took) * 1e-6, std::max(*stream, *install) * 1e-6};
}

void add(Scene& scene) {
  for (const char* policy :
       {"rc+prefetch64+none+cow", "dct+prefetch64+none+cow", "rc+prefetch64+none+copy",
        "rc+prefetch512+none+copy", "rc+eager+none+cow", "rc+eager+none+copy"}) {
    auto origin = std::make_shared<Origin>(
        scene, [&scene] { return scene.start_touched_parent(mebibytes); }, policy);
    const bool eager = std::string(policy).find("eager") != std::string::npos;
    add_bar(std::string("sequential_read/") + (eager ? "eager/" : "faulting/") + policy, 7,
            [&scene, origin, eager] { return read_all(scene, *origin, eager); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
