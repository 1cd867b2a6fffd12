// SPDX-License-Identifier: MIT
// Usage: ud_rpc serve [SPIN_US] | calls WAY COUNT | nil WAY COUNT [SPIN_US] | stop WAY | dct
// Calls over datagrams on this machine's RDMA device, for ud_test.py and the benchmark. World:
// user. What is read are 2048 bytes that depend on the address, and 8 that are their sum. A handler
// may be reclaimed once: the server tells at its end how often each was. Handler 0 ends the server.
// SPIN_US: how long the device is polled before sleeping.
#include <fmt/format.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/net/sim/random.hpp>
#include <mitosis/net/verbs/dct/mlx5_device.hpp>
#include <mitosis/net/verbs/device_list.hpp>
#include <mitosis/net/verbs/ud_client.hpp>
#include <mitosis/net/verbs/ud_server.hpp>
#include <mitosis/net/verbs/way_text.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace {

using namespace mitosis;

constexpr std::size_t body_bytes = 2048;

auth::Identity identity(std::uint32_t machine) {
  const std::uint8_t material[] = "the secret of the test's machines";
  return {MachineId{machine},
          std::make_shared<const auth::Secret>(std::move(auth::Secret::from(material)).value())};
}
std::uint64_t sum_of(const std::uint8_t* bytes) {
  std::uint64_t sum = 0xcbf29ce484222325ull;
  for (std::size_t i = 0; i < body_bytes; ++i) sum = (sum ^ bytes[i]) * 0x100000001b3ull;
  return sum;
}
void fill(std::uint64_t address, std::uint8_t* into) {
  sim::Random random(address);
  for (std::size_t i = 0; i < body_bytes; ++i) into[i] = static_cast<std::uint8_t>(random.next());
  const std::uint64_t sum = sum_of(into);
  std::memcpy(into + body_bytes, &sum, sizeof sum);
}

class Service : public rpc::Service {
 public:
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller&, HandlerId,
                                                const AuthKey&) override {
    return Errc::unknown_handler;
  }
  Result<void> fallback_read(const rpc::Caller&, const TargetName&, std::uint64_t address,
                             MutableBytes into) override {
    if (into.size() != body_bytes + 8) return Errc::invalid_argument;
    fill(address, into.data());
    return {};
  }
  Result<void> reclaim(const rpc::Caller&, HandlerId handler, const AuthKey&) override {
    const std::lock_guard lock(mutex_);
    if (handler == HandlerId{0}) {
      stopped_ = true;
      stop_.notify_all();
      return {};
    }
    return ++reclaimed_[handler] == 1 ? Result<void>() : Errc::unknown_handler;
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId, Generation) override {
    return Errc::unknown_handler;
  }
  /// What a reclaim of handler 0 ends.
  void wait() {
    std::unique_lock lock(mutex_);
    stop_.wait(lock, [this] { return stopped_; });
    int twice = 0;
    for (const auto& [handler, times] : reclaimed_) twice += times > 1 ? 1 : 0;
    fmt::print("reclaimed {} twice {}\n", reclaimed_.size(), twice);
  }

 private:
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;
  std::map<HandlerId, int> reclaimed_;
};

int fail(const Error& error) {
  fmt::print("error: {}\n", describe(error));
  return 1;
}

int serve(const verbs::ChosenGid& at, const char* spin_us) {
  Service service;
  verbs::UdServer::Options options;
  if (spin_us != nullptr) options.spin_us = std::stoull(spin_us);
  auto server = verbs::UdServer::start(at, options, identity(0), service);
  if (!server.ok()) return fail(server.error());
  fmt::print("{}\n", verbs::way_text((*server)->way()));
  std::fflush(stdout);
  service.wait();
  return 0;
}

/// Reads and reclaims in turn; every byte is looked at.
int calls(verbs::UdClient& client, std::uint64_t count) {
  for (std::uint64_t i = 1; i <= count; ++i) {
    std::uint8_t got[body_bytes + 8], want[body_bytes + 8];
    std::memset(got, 0, sizeof got);
    fill(i, want);
    const Result<void> read =
        client.fallback_read({}, i, MutableBytes(got), tcp::deadline_in(20'000));
    if (!read.ok()) return fail(read.error());
    if (std::memcmp(got, want, sizeof got) != 0) {
      fmt::print("error: wrong bytes at {}\n", i);
      return 1;
    }
    const Result<void> reclaimed = client.reclaim(HandlerId{i}, {}, tcp::deadline_in(20'000));
    if (!reclaimed.ok()) return fail(reclaimed.error());
  }
  fmt::print("done {}\n", count);
  return 0;
}

int nil(verbs::UdClient& client, std::size_t count) {
  std::vector<double> times;
  for (std::size_t i = 0; i < count; ++i) {
    const Time began = tcp::monotonic_now();
    if (Result<void> done = client.ping(tcp::deadline_in(20'000)); !done.ok()) {
      return fail(done.error());
    }
    times.push_back(static_cast<double>(static_cast<std::uint64_t>(tcp::monotonic_now()) -
                                        static_cast<std::uint64_t>(began)) /
                    1000);
  }
  std::sort(times.begin(), times.end());
  fmt::print("median_us {:.2f}\n", times[times.size() / 2]);
  return 0;
}

/// Whether the device has dynamic connections.
int dct() {
  const auto nic = verbs::Nic::open({});
  if (!nic.ok()) return fail(nic.error());
  auto device = verbs::Mlx5Device::open(*nic, 64);
  return device.ok() ? 0 : fail(device.error());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const Result<verbs::ChosenGid> at = verbs::choose(verbs::list_devices(), {});
  if (!at.ok()) return fail(at.error());
  if (what == "serve") return serve(*at, argc > 2 ? argv[2] : nullptr);
  if (what == "dct") return dct();
  const Result<rpc::ud::Way> way = verbs::parse_way(argc > 2 ? argv[2] : "");
  if (!way.ok()) return fail(way.error());
  verbs::UdClient::Options options;
  if (argc > 4) options.spin_us = std::stoull(argv[4]);
  auto client = verbs::UdClient::open(*at, identity(1), MachineId{0}, *way, options);
  if (!client.ok()) return fail(client.error());
  const std::uint64_t count = argc > 3 ? std::stoull(argv[3]) : 1;
  if (what == "calls") return calls(**client, count);
  if (what == "nil") return nil(**client, count);
  if (what == "stop") {
    const Result<void> done = (*client)->reclaim(HandlerId{0}, {}, tcp::deadline_in(20'000));
    return done.ok() ? 0 : fail(done.error());
  }
  fmt::print(
      "usage: ud_rpc serve [SPIN_US] | calls WAY COUNT | nil WAY COUNT [SPIN_US] | stop WAY "
      "| dct\n");
  return 2;
}
