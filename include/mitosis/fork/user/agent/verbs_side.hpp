// SPDX-License-Identifier: MIT
// VerbsSide: RdmaSide over rdma-core. World: user. One translation unit includes it.
#pragma once

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/datagram_service.hpp>
#include <mitosis/fork/user/agent/peers.hpp>
#include <mitosis/fork/user/agent/rdma_side.hpp>
#include <mitosis/fork/user/agent/registered_parents.hpp>
#include <mitosis/net/verbs/dct/mlx5_reads.hpp>
#include <mitosis/net/verbs/fabric.hpp>
#include <mitosis/net/verbs/pool_server.hpp>
#include <mitosis/net/verbs/served_queue_pairs.hpp>
#include <mitosis/net/verbs/ud_calls.hpp>
#include <mitosis/net/verbs/ud_server.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::agent {

class VerbsSide final : public RdmaSide, public verbs::ControlPath, public Registrar {
 public:
  static Result<std::unique_ptr<VerbsSide>> open(const AgentOptions& options, TargetTable& targets,
                                                 Peers& peers,
                                                 std::function<std::uint64_t()> budget_left,
                                                 int images) {
    auto nic = verbs::Nic::open(wish_of(options));
    if (!nic) return nic.error();
    return std::make_unique<VerbsSide>(std::move(nic).value(), options.rdma_cm, targets, peers,
                                       options.memory_budget, std::move(budget_left), images);
  }
  static verbs::DeviceWish wish_of(const AgentOptions& options) {
    verbs::DeviceWish wish{options.device, std::nullopt, std::nullopt};
    if (options.gid >= 0) wish.gid = static_cast<std::uint32_t>(options.gid);
    return wish;
  }
  VerbsSide(verbs::Nic nic, bool by_cm, TargetTable& targets, Peers& peers, std::uint64_t budget,
            std::function<std::uint64_t()> budget_left, int images)
      : nic_(std::move(nic)),
        by_cm_(by_cm || nic_.iwarp()),
        peers_(peers),
        pool_limits_{.bytes = budget, .budget_left = budget_left},
        served_(nic_),
        dynamic_(open_dynamic(nic_, target_ends)),
        doors_(dynamic_.ok() ? std::make_unique<verbs::DcDoors<verbs::Mlx5Device>>(
                                   **dynamic_, (*dynamic_)->port(), max_doors)
                             : nullptr),
        parents_(nic_, doors_.get(), targets, budget, std::move(budget_left), images) {}

  // ---- RdmaSide ----
  Registrar& registrar() noexcept override { return *this; }
  TargetObserver& observer() noexcept override { return parents_; }
  Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<RC>> second) override {
    auto made = VerbsFabric<RC>::open(nic_, *this, std::move(second), fabric_options());
    if (!made) return made.error();
    return PagerFabric(std::move(made).value());
  }
  Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<DCT>> second) override {
    if (!dynamic_) return PagerFabric(std::move(second));
    auto device = open_dynamic(nic_, reader_ends);
    if (!device) return device.error();
    readers_.push_back(std::move(device).value());
    auto made =
        VerbsFabric<DCT>::open(*readers_.back(), *this, std::move(second), fabric_options());
    if (!made) return made.error();
    return PagerFabric(std::move(made).value());
  }
  Result<void> dynamic() const override {
    if (!dynamic_) return dynamic_.error();
    return {};
  }
  std::uint64_t bytes_used() const noexcept override {
    const verbs::PoolServer* const pool = counted_.load();
    return parents_.bytes_used() + (pool != nullptr ? pool->bytes_used() : 0);
  }
  std::string device() const override {
    return fmt::format("{} port {} gid {}", nic_.context().name(), nic_.port(), nic_.gid_index());
  }
  Result<void> serve_calls(rpc::Service& service,
                           std::function<void(const Error&)> on_refusal) override {
    if (nic_.iwarp()) return iwarp_lacks("datagrams");
    datagram_service_.emplace(service);
    verbs::UdServer::Options options;
    options.on_refusal = std::move(on_refusal);
    auto started = verbs::UdServer::start(nic_.at(), std::move(options), peers_.identity(),
                                          *datagram_service_);
    if (!started) return started.error();
    datagrams_ = std::move(started).value();
    return {};
  }
  Result<std::unique_ptr<rpc::DatagramCalls>> calls_to(MachineId machine,
                                                       const rpc::ud::Way& way) override {
    if (nic_.iwarp()) return iwarp_lacks("datagrams");
    return verbs::UdCalls::open(nic_.at(), peers_.identity(), machine, way);
  }
  Result<rpc::ud::Way> way() const override {
    if (datagrams_ == nullptr || !datagrams_->serves())
      return Error(Errc::transport_unsupported, "no datagrams here");
    return datagrams_->way();
  }
  Result<void> hold_pool(int listener, const tcp::AddressBook& book) override {
    if (nic_.iwarp()) return iwarp_lacks("connections of pools, which are not by rdma_cm");
    verbs::PoolServer::Options options;
    options.listener = listener;
    options.limits = pool_limits_;
    options.on_trouble = [](const Error& why) {
      spdlog::warn("connection pool: {}", describe(why));
    };
    auto started = verbs::PoolServer::start(nic_, std::move(options), peers_.identity(), book);
    if (!started) return started.error();
    pool_ = std::move(started).value();
    counted_.store(pool_.get());
    return {};
  }
  void serve_pool_link(int fd, const auth::Hello& hello) override {
    if (pool_) pool_->serve_link(fd, hello);
  }
  Result<void> look_after_device() override {
    using News = verbs::DeviceHealth::News;
    Result<void> done;
    nic_.look_after([&](News news, const char* why) {
      if (news == News::failed) {
        const std::string about = std::string(nic_.context().name()) + ": " + why;
        done = Error(Errc::connection_lost, about.c_str()).in("use the RDMA device");
      } else if (news == News::port_down) {
        spdlog::warn("RDMA: port {} of {} is down; all is read over TCP until it is up",
                     nic_.port(), nic_.context().name());
      } else {
        spdlog::info("RDMA: port {} of {} is up again", nic_.port(), nic_.context().name());
      }
    });
    return done;
  }
  void stop() override {
    if (pool_) pool_->stop();
    if (datagrams_) datagrams_->stop();
    parents_.stop();
  }
  Result<rpc::QueuePairEnd> connect_queue_pair(const rpc::Caller& caller, std::uint64_t session,
                                               const rpc::ConnectQueuePair& request) override {
    return served_.connect(caller.machine, session, request);
  }
  Result<rpc::ConnectionPlace> expect_connection(const rpc::Caller& caller, std::uint64_t session,
                                                 const rpc::ExpectConnection& request) override {
    return served_.expect(caller.machine, session, request);
  }
  Result<rpc::PiecesReply> query_pieces(const TargetName& target) override {
    return parents_.tell(target);
  }
  void on_session_end(std::uint64_t session) override { served_.end_session(session); }

  // ---- verbs::ControlPath ----
  Result<rpc::QueuePairEnd> connect(MachineId peer, const rpc::ConnectQueuePair& ours,
                                    Time deadline) override {
    return peers_.connect_queue_pair(peer, ours, deadline);
  }
  Result<rpc::ConnectionPlace> place(MachineId peer, const rpc::ExpectConnection& ours,
                                     Time deadline) override {
    return peers_.expect_connection(peer, ours, deadline);
  }
  Result<rpc::PiecesReply> pieces(MachineId peer, const TargetName& target,
                                  Time deadline) override {
    return peers_.query_pieces(peer, target, deadline);
  }

  // ---- Registrar ----
  Result<std::unique_ptr<Registration>> for_landing(MutableBytes memory) noexcept override {
    auto made = verbs::MemoryRegion::make(nic_.domain(), memory, nic_.landing());
    if (!made) return made.error();
    if (made->local().local_key == 0) return Error(Errc::system_call_failed, "a key of 0");
    return std::unique_ptr<Registration>(std::make_unique<Landing>(std::move(made).value()));
  }

 private:
  using Dynamic = Result<std::unique_ptr<verbs::Mlx5Device>>;
  static constexpr int target_ends = 64;       ///< nothing ever ends at a target
  static constexpr int reader_ends = 8 * 128;  ///< all that initiators have out
  static constexpr std::size_t max_doors = 8192;

  Error iwarp_lacks(const char* what) const {
    const std::string about = fmt::format("{} is iWARP, which has no {}", device(), what);
    return Error(Errc::transport_unsupported, about.c_str());
  }
  static Dynamic open_dynamic(const verbs::Nic& nic, int ends) {
    return verbs::Mlx5Device::open(nic, ends);
  }
  verbs::FabricOptions fabric_options() const {
    verbs::FabricOptions options;
    options.by_cm = by_cm_;
    options.on_loss = [](const Error& why) {
      spdlog::warn("RDMA: {}; it is read over TCP until the connection is made anew",
                   describe(why));
    };
    return options;
  }

  class Landing final : public Registration {
   public:
    explicit Landing(verbs::MemoryRegion region) noexcept : region_(std::move(region)) {}
    std::uint32_t local_key() const noexcept override { return region_.local().local_key; }

   private:
    verbs::MemoryRegion region_;
  };

  verbs::Nic nic_;
  const bool by_cm_;
  Peers& peers_;
  const verbs::PoolLimits pool_limits_;
  verbs::ServedQueuePairs served_;
  Dynamic dynamic_;  ///< of the targets; an error where the device has no dynamic connections
  std::unique_ptr<verbs::Doors> doors_;
  std::vector<std::unique_ptr<verbs::Mlx5Device>> readers_;  ///< the pagers' own
  RegisteredParents parents_;
  std::optional<DatagramService> datagram_service_;
  // Made before the first call can come.
  std::unique_ptr<verbs::UdServer> datagrams_;
  std::unique_ptr<verbs::PoolServer> pool_;
  std::atomic<const verbs::PoolServer*> counted_{nullptr};  ///< it, for who asks while it is made
};

}  // namespace mitosis::agent
