// SPDX-License-Identifier: MIT
// Usage: connect_times serve | connect_times rdma_cm|raw ADDRESS COUNT | connect_times pool SOCKET
// MACHINE COUNT. What connecting takes: with rdma_cm, by an own handshake over TCP, through the
// connection pool (`pool`: of a process that is attached; `attach`: the attaching as well). Prints
// the median in microseconds. World: user.
#include <fmt/format.h>
#include <rdma/rdma_cma.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/net/pool/client.hpp>
#include <mitosis/net/rpc/connect.hpp>
#include <mitosis/net/verbs/link_messages.hpp>
#include <mitosis/net/verbs/pool_link.hpp>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace mitosis;

constexpr std::uint16_t cm_port = 7500, raw_port = 7501;
constexpr std::uint64_t service = 43;

int fail(const std::string& what) {
  fmt::print("error: {} ({})\n", what, std::strerror(errno));
  return 1;
}

/// Runs `one` so many times; -1 where it fails.
template <class One>
int report(std::size_t count, One one) {
  std::vector<double> times;
  for (std::size_t i = 0; i < count; ++i) {
    const auto began = static_cast<std::uint64_t>(tcp::monotonic_now());
    std::uint64_t ended = 0;
    if (!one(ended)) return fail("connecting");
    times.push_back(static_cast<double>(ended - began) / 1000);
  }
  std::sort(times.begin(), times.end());
  fmt::print("median_us {:.2f}\n", times[times.size() / 2]);
  return 0;
}
std::uint64_t now() {
  return static_cast<std::uint64_t>(tcp::monotonic_now());
}

// -- rdma_cm --------------------------------------------------------------------------------------

ibv_qp_init_attr small_queue_pair() {
  ibv_qp_init_attr wanted{};
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = wanted.cap.max_recv_wr = 16;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  return wanted;
}
bool expect(rdma_event_channel* channel, rdma_cm_event_type wanted) {
  rdma_cm_event* event = nullptr;
  if (::rdma_get_cm_event(channel, &event) != 0) return false;
  const bool right = event->event == wanted;
  ::rdma_ack_cm_event(event);
  return right;
}
void serve_cm() {
  rdma_event_channel* const channel = ::rdma_create_event_channel();
  rdma_cm_id* listener = nullptr;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(cm_port);
  if (::rdma_create_id(channel, &listener, nullptr, RDMA_PS_TCP) != 0 ||
      ::rdma_bind_addr(listener, reinterpret_cast<sockaddr*>(&address)) != 0 ||
      ::rdma_listen(listener, 64) != 0) {
    return;
  }
  rdma_cm_event* event = nullptr;
  while (::rdma_get_cm_event(channel, &event) == 0) {
    rdma_cm_id* const id = event->id;
    const rdma_cm_event_type what = event->event;
    ::rdma_ack_cm_event(event);
    if (what == RDMA_CM_EVENT_CONNECT_REQUEST) {
      ibv_qp_init_attr wanted = small_queue_pair();
      rdma_conn_param parameters{};
      if (::rdma_create_qp(id, nullptr, &wanted) != 0 || ::rdma_accept(id, &parameters) != 0) {
        ::rdma_destroy_id(id);
      }
    } else if (what == RDMA_CM_EVENT_DISCONNECTED) {
      ::rdma_disconnect(id);
      ::rdma_destroy_qp(id);
      ::rdma_destroy_id(id);
    }
  }
}
bool connect_cm(const std::string& to, std::uint64_t& ended) {
  rdma_event_channel* const channel = ::rdma_create_event_channel();
  rdma_cm_id* id = nullptr;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(cm_port);
  ::inet_pton(AF_INET, to.c_str(), &address.sin_addr);
  ibv_qp_init_attr wanted = small_queue_pair();
  rdma_conn_param parameters{};
  parameters.retry_count = 7;
  const bool done =
      ::rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP) == 0 &&
      ::rdma_resolve_addr(id, nullptr, reinterpret_cast<sockaddr*>(&address), 5000) == 0 &&
      expect(channel, RDMA_CM_EVENT_ADDR_RESOLVED) && ::rdma_resolve_route(id, 5000) == 0 &&
      expect(channel, RDMA_CM_EVENT_ROUTE_RESOLVED) &&
      ::rdma_create_qp(id, nullptr, &wanted) == 0 && ::rdma_connect(id, &parameters) == 0 &&
      expect(channel, RDMA_CM_EVENT_ESTABLISHED);
  ended = now();
  if (done) {
    ::rdma_disconnect(id);
    static_cast<void>(expect(channel, RDMA_CM_EVENT_DISCONNECTED));
    ::rdma_destroy_qp(id);
  }
  if (id != nullptr) ::rdma_destroy_id(id);
  ::rdma_destroy_event_channel(channel);
  return done;
}

// -- an own handshake -----------------------------------------------------------------------------

/// What all connections of a process share.
struct Device {
  static Device& get() {
    static Device* const device = new Device;
    return *device;
  }
  verbs::Nic nic = std::move(verbs::Nic::open({})).value();
  verbs::CompletionQueue queue =
      std::move(verbs::CompletionQueue::make(nic.context(), 1024, nullptr)).value();
};
/// Both ends make a queue pair, tell it, and connect it; without authentication, as a bare one.
bool meet(int fd) {
  Device& device = Device::get();
  auto link = verbs::PoolLink::make({device.nic, device.queue, device.queue});
  if (!link.ok()) return false;
  const verbs::LinkEnd mine{(*link)->end()};
  tcp::FrameStream stream(fd);
  const Time deadline = tcp::deadline_in(10'000);
  if (!stream.send(wire::make_frame(mine), deadline).ok()) return false;
  auto frame = stream.receive(1024, deadline);
  if (!frame.ok()) return false;
  const auto other = frame->as<verbs::LinkEnd>();
  if (!other.ok() || !(*link)->raise(other->end).ok()) return false;
  if (!stream.send(wire::make_frame(verbs::LinkReady{}), deadline).ok()) return false;
  frame = stream.receive(1024, deadline);
  return frame.ok() && frame->is<verbs::LinkReady>();
}
void serve_raw() {
  auto listener = tcp::listen_on(*tcp::resolve("0.0.0.0:" + std::to_string(raw_port)));
  if (!listener.ok()) return;
  for (;;) {
    pollfd waiting{listener->get(), POLLIN, 0};
    ::poll(&waiting, 1, 1000);
    UniqueFd fd(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    tcp::tune(fd.get());
    static_cast<void>(meet(fd.get()));
  }
}
bool connect_raw(const std::string& to, std::uint64_t& ended) {
  const auto address = tcp::resolve(to + ":" + std::to_string(raw_port));
  auto fd = tcp::start_connect(*address);
  if (!fd.ok() || !rpc::finish_connect(fd->get(), *address, tcp::deadline_in(10'000)).ok()) {
    return false;
  }
  const bool done = meet(fd->get());
  ended = now();
  return done;
}

// -- the pool -------------------------------------------------------------------------------------

int times_of_pool(const std::string& socket, MachineId machine, std::size_t count, bool attach) {
  auto pool = pool::Pool::attach(socket, 1 << 16);
  if (!pool.ok()) return fail(describe(pool.error()));
  return report(count, [&](std::uint64_t& ended) {
    if (attach) pool = pool::Pool::attach(socket, 1 << 16);
    if (!pool.ok()) return false;
    const auto to = pool->connect(machine, service, tcp::deadline_in(10'000));
    ended = now();
    return to.ok() && pool->close(to->queue, tcp::deadline_in(10'000)).ok();
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "serve" && argc > 2) {
    auto pool = pool::Pool::attach(argv[2], 1 << 16);
    if (!pool.ok()) return fail(describe(pool.error()));
    if (!pool->listen(service, 0, 4096, tcp::deadline_in(10'000)).ok()) return fail("listen");
    std::thread cm(serve_cm), raw(serve_raw);
    fmt::print("ready\n");
    std::fflush(stdout);
    cm.join();
    raw.join();
  }
  const std::size_t count = argc > 3 ? std::stoul(argv[argc - 1]) : 0;
  if (what == "rdma_cm" && count > 0) {
    return report(count, [&](std::uint64_t& ended) { return connect_cm(argv[2], ended); });
  }
  if (what == "raw" && count > 0) {
    Device::get();
    return report(count, [&](std::uint64_t& ended) { return connect_raw(argv[2], ended); });
  }
  if ((what == "pool" || what == "attach") && argc > 4) {
    return times_of_pool(argv[2], MachineId{static_cast<std::uint32_t>(std::stoul(argv[3]))}, count,
                         what == "attach");
  }
  fmt::print(
      "usage: connect_times serve SOCKET | rdma_cm|raw ADDRESS COUNT | "
      "pool|attach SOCKET MACHINE COUNT\n");
  return 2;
}
