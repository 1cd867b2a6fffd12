// SPDX-License-Identifier: MIT
// Worker: start, housekeeping, end. World: user.
// Included by agent.hpp: it needs the sessions, which need the worker.
#pragma once

#include <sys/stat.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/listen_address.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/agent/worker.hpp>
#include <mitosis/fork/user/agent/worker_device.hpp>
#include <mitosis/policy/parse.hpp>

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

namespace mitosis::agent {

namespace detail {

/// The cluster's secret; without a file one that nobody else has, so that only this machine is
/// served.
inline Result<auth::Secret> load_secret(const std::string& path) {
  if (!path.empty()) return auth::Secret::load(path);
  std::uint8_t random[32];
  if (::getrandom(random, sizeof random, 0) != ssize_t{sizeof random}) {
    return Error(Errc::system_call_failed, "getrandom", errno).in("draw a secret");
  }
  return auth::Secret::from(Bytes(random));
}

}  // namespace detail

inline Worker::Worker(const AgentOptions& o, StateTable& t, Inheritance inherited)
    : options(o),
      table(t),
      device(inherited.device),
      kept_images(
          inherited.images, 0,
          [](MutableBytes) -> Result<std::monostate> { return Error(Errc::limit_exceeded); }),
      parents(t, targets, o.lease),
      caches(o.memory_budget, static_cast<std::uint64_t>(o.cache_idle.count()) * 1'000'000),
      service_(parents, targets),
      reads_(targets) {
  parents.reap_with(&shadow_reaper);
  if (o.verbs) parents.expect_device();
}

inline Result<std::unique_ptr<Worker>> Worker::start(const AgentOptions& options, StateTable& table,
                                                     Inheritance inherited) {
  std::unique_ptr<Worker> worker(new Worker(options, table, inherited));
  if (auto r = worker->open(inherited); !r) {
    if (worker->rdma && table.worker_starts.load() > 1) {
      // Its device may have gone meanwhile. It has children and parents to serve, which end with
      // it where it ends in order: the next one does without the device.
      worker->note_device_failure();
      leave_to_next_worker(r.error());
    }
    return r.error();
  }
  return worker;
}

/// What is served must be there before anybody can ask for it: a read that finds no target is told
/// that it was revoked, and the child that needs it dies.
inline Result<void> Worker::open(Inheritance inherited) {
  auto secret = detail::load_secret(options.secret_file);
  if (!secret) return secret.error();
  const auth::Identity identity{options.machine,
                                std::make_shared<const auth::Secret>(std::move(secret).value())};
  peers = std::make_unique<Peers>(identity, [](MachineId machine, const Error& why) {
    spdlog::warn("the session to machine {} was lost: {}", static_cast<std::uint32_t>(machine),
                 describe(why));
  });
  if (auto r = use_device(inherited.images); !r) return r;
  adopt_parents();
  if (rdma) use_datagrams();
  if (options.verbs) hold_pool(inherited.pool_socket);

  tcp::Server::Options server_options;
  const std::uint32_t port = table.port.load();
  server_options.listen =
      port == 0 ? options.listen : detail::host_of(options.listen) + ":" + std::to_string(port);
  server_options.on_refusal = [this](const Error& why) { refused_connections.add(why); };
  if (rdma) {
    server_options.on_pool_link = [this](int fd, const auth::Hello& hello) {
      rdma->serve_pool_link(fd, hello);
    };
  }
  auto server = tcp::Server::start(std::move(server_options), identity, reads_, service_);
  if (!server) return server.error().in("listen");
  server_ = std::move(server).value();
  table.port.store(server_->port());

  const std::string host = detail::host_of(options.listen);
  const std::string self =
      (detail::is_wildcard(host) ? "127.0.0.1" : host) + ":" + std::to_string(server_->port());
  if (auto r = peers->enter(options.machine, self); !r) return r;
  std::vector<MachineId> named;
  for (const auto& [machine, address] : options.peers) {
    if (auto r = peers->enter(machine, address); r) {
      named.push_back(machine);
    } else {
      spdlog::warn("machine {} cannot be resolved: {}", static_cast<std::uint32_t>(machine),
                   describe(r.error()));
    }
  }
  if (auto r = open_pagers(); !r) return r;
  spawner = std::make_unique<Spawner>(inherited.orders, table.worker_starts.load());
  adopt_children();
  local = std::make_unique<LocalServer>(inherited.local_socket, [this](local::Channel channel) {
    Session(*this, std::move(channel)).run();
  });
  if (auto r = local->start(); !r) return r;
  greeter_ = std::make_unique<Greeter>(*peers, std::move(named));
  return {};
}

inline Result<void> Worker::open_pagers() {
  Pager::Options pager_options;
  pager_options.deadlines.page =
      static_cast<std::uint64_t>(options.page_deadline.count()) * 1'000'000;
  for (std::uint32_t i = 0; i < std::max(options.pagers, 1u); ++i) {
    auto rc = TcpFabric<RC>::open(peers->identity(), peers->book());
    if (!rc) return rc.error();
    auto dct = TcpFabric<DCT>::open(peers->identity(), peers->book());
    if (!dct) return dct.error();
    const auto fabric_of = [this](auto tcp) -> Result<PagerFabric> {
      if (rdma) return rdma->fabric(std::move(tcp));
      return PagerFabric(std::move(tcp));
    };
    auto reliable = fabric_of(std::move(rc).value());
    if (!reliable) return reliable.error();
    auto dynamic = fabric_of(std::move(dct).value());
    if (!dynamic) return dynamic.error();
    pagers.push_back(std::make_unique<Pager>(
        i, table, pager_options,
        Pager::Fabrics{std::move(reliable).value(), std::move(dynamic).value(),
                       rdma ? &rdma->registrar() : nullptr},
        [this](const ReadRequest& request) { return peers->read(request); }, profile));
    if (auto r = pagers.back()->start(); !r) {
      pagers.pop_back();
      return r;
    }
  }
  return {};
}

inline Pager& Worker::pager_of(const ImageName& name) noexcept {
  const auto mix = static_cast<std::uint64_t>(name.handler) * 0x9e3779b97f4a7c15ull ^
                   static_cast<std::uint64_t>(name.generation) ^
                   static_cast<std::uint64_t>(name.machine) << 32;
  return *pagers[(mix * 0x9e3779b97f4a7c15ull >> 32) % pagers.size()];
}

inline std::uint64_t Worker::budget_left() const {
  std::uint64_t used = caches.bytes_used() + (rdma ? rdma->bytes_used() : 0);
  for (const auto& parent : parents.list()) {
    used += parent->image_pages << page_shift;
    struct stat shared = {};
    if (parent->shared_fd && ::fstat(parent->shared_fd.get(), &shared) == 0) {
      used += static_cast<std::uint64_t>(shared.st_size);
    }
  }
  return options.memory_budget > used ? options.memory_budget - used : 0;
}

inline std::string Worker::advertised() const {
  if (!options.advertise.empty()) return options.advertise;
  std::string host = detail::host_of(options.listen);
  if (detail::is_wildcard(host)) host = detail::own_address();
  return host + ":" + std::to_string(table.port.load());
}

inline std::chrono::milliseconds Worker::tick() const noexcept {
  return std::clamp(options.lease / 8, std::chrono::milliseconds(20),
                    std::chrono::milliseconds(1000));
}

/// Renews the leases of parents whose children run here, at a third of the lease; ends what nobody
/// uses.
inline void Worker::on_tick() {
  for (const HandlerId handler : parents.sweep(Clock::now())) {
    spdlog::info("handler {} has ended with its process or its lease",
                 static_cast<std::uint64_t>(handler));
  }
  prepares.sweep();
  refused_connections.tick();
  refused_calls.tick();
  caches.sweep(static_cast<std::uint64_t>(tcp::monotonic_now()));
  const auto now = Clock::now();
  if (now < next_renewal_) return;
  next_renewal_ = now + options.lease / 3;
  std::set<std::tuple<MachineId, HandlerId, Generation>> used;
  const auto use_all = [&](const DescriptorView& view) {
    for (const descriptor::OwnerRecord owner : view.owners()) {
      used.emplace(MachineId{owner.machine}, HandlerId{owner.handler},
                   Generation{owner.generation});
    }
  };
  for (const std::shared_ptr<const Image>& image : images.all()) use_all(image->view());
  for (const auto& [machine, handler, generation] : used) {
    if (machine == options.machine) {
      (void)parents.renew(handler, generation);
    } else if (auto r = peers->renew(machine, handler, generation); !r) {
      spdlog::debug("a lease was not renewed: {}", describe(r.error()));
    }
  }
}

/// Children first: without a pager they would sleep for ever, or read zeros once their
/// userfaultfd is closed. Then who could make new ones, then the rest.
inline Worker::~Worker() {
  if (local) local->stop();
  for (const auto& pager : pagers) pager->end_all();
  parents.reclaim_all();
  if (greeter_) greeter_->request_stop();
  if (rdma) rdma->stop();
  if (peers) peers->close();
  greeter_.reset();
  server_.reset();
  spawner.reset();
  pagers.clear();
}

}  // namespace mitosis::agent
