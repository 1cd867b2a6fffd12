// SPDX-License-Identifier: MIT
// verbs_peer serve | CHECK HOST: the checks of verbs_fabric_test.py (verbs_checks.hpp) and the
// measurements of benchmarks/bar_verbs.py, run in an emulated machine against `serve` in another.
// Exits with 0 where the check holds. World: user.
#include "verbs_peer.hpp"

#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "verbs_checks.hpp"

namespace mitosis::vm {
namespace {

// Never asleep, as perftest does it.

/// The median time of one 4 KiB read, in microseconds.
int measure_latency(const std::string& host) {
  Reader reader(host, false, false);
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  std::vector<std::uint64_t> times;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const ReadRequest r = reader.request(i % 1024 * page_size, page_size);
    const Time began = tcp::monotonic_now();
    reader.fabric().post(Span<const ReadRequest>(&r, 1));
    ReadCompletion done;
    while (reader.fabric().poll(Span<ReadCompletion>(&done, 1), began) == 0) continue;
    times.push_back(static_cast<std::uint64_t>(tcp::monotonic_now()) -
                    static_cast<std::uint64_t>(began));
    if (done.status != Errc::ok || !Reader::right(r)) return fail("a read");
  }
  std::sort(times.begin(), times.end());
  std::printf("%.2f\n", static_cast<double>(times[times.size() / 2]) / 1000);
  return reader.fabric().counts().moved == 0 ? 0 : fail("not all by RDMA");
}

/// 64 KiB reads in batches of 16, two of which are open, in MB (10^6 bytes) a second.
int measure_bandwidth(const std::string& host) {
  constexpr std::uint64_t batches = 20, batch = 16, length = 65536;
  Reader reader(host, false, false);
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  reader.patience_ms = 60'000;
  std::uint64_t posted = 0, ended = 0;
  const Time began = tcp::monotonic_now();
  while (ended < batches * batch) {
    while (posted < batches * batch && posted - ended <= batch) {
      std::vector<ReadRequest> requests;
      for (std::uint64_t i = 0; i < batch; ++i, ++posted) {
        requests.push_back(
            reader.request(posted * length % bytes, length, posted * length % (32 * length)));
      }
      reader.fabric().post(requests);
    }
    ReadCompletion done[16];
    const std::size_t count = reader.fabric().poll(done, began);
    for (std::size_t i = 0; i < count; ++i) {
      if (done[i].status != Errc::ok) return fail("a read");
    }
    ended += count;
  }
  const auto ns =
      static_cast<std::uint64_t>(tcp::monotonic_now()) - static_cast<std::uint64_t>(began);
  std::printf("%.3f\n", static_cast<double>(ended * length) * 1000 / static_cast<double>(ns));
  return reader.fabric().counts().moved == 0 ? 0 : fail("not all by RDMA");
}

}  // namespace

int run(std::string_view what, const std::string& host) {
  if (what == "serve") {
    const Owner owner;
    if (::creat("/run/serving", 0600) < 0) return 1;
    for (;;) ::pause();
  }
  if (what == "latency") return measure_latency(host);
  if (what == "bandwidth") return measure_bandwidth(host);
  return check(what, host);
}

}  // namespace mitosis::vm

int main(int argc, char** argv) {
  return argc < 2 ? 2 : mitosis::vm::run(argv[1], argc > 2 ? argv[2] : "");
}
