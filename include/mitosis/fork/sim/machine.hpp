// SPDX-License-Identifier: MIT
// Machine: one machine's agent, pager, processes and prepared parents. World: sim.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/sim/prepared.hpp>
#include <mitosis/fork/sim/process.hpp>
#include <mitosis/net/sim/fabric.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// Makes a machine's fabric for a transport.
using FabricMaker =
    std::function<AnyFabric(Network&, MachineId, TransportKind, std::function<void()> on_ready)>;

inline AnyFabric default_fabric(Network& network, MachineId self, TransportKind transport,
                                std::function<void()> on_ready) {
  return transport == TransportKind::dct
             ? AnyFabric::make<SimFabric<DCT>>(network, self, std::move(on_ready))
             : AnyFabric::make<SimFabric<RC>>(network, self, std::move(on_ready));
}

struct MachineOptions {
  std::uint64_t cache_budget = 1 << 20;   ///< pages, for each cache
  std::uint64_t landing_pages = 1 << 14;  ///< pages, for the machine
  std::uint32_t again_per_million = 0;    ///< installations that find the map changing
  std::uint64_t lease = 0;                ///< ns from prepare on; 0: no end
  Deadlines deadlines;
  FabricMaker fabric = default_fabric;
};

class Machine {
 public:
  using Resumed = std::function<void(Result<std::shared_ptr<Process>>)>;

  Machine(Network& network, MachineId id, const MachineOptions& options)
      : network_(network),
        id_(id),
        options_(options),
        landing_(options.landing_pages),
        fallback_(network, id,
                  [this](std::uint64_t cookie, Errc status) { complete(cookie, status); }) {
    boot();
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // -- parents
  // --------------------------------------------------------------------------------------

  /// An ordinary process.
  std::shared_ptr<Process> start() {
    auto process = std::make_shared<Process>(network_.events(), network_.random());
    processes_[next_slot_++] = process;
    return process;
  }
  /// Freezes a process of this machine. handler_in_use.
  Result<Ticket> prepare(Process& process, HandlerId handler, bool copy_on_write) {
    if (prepared_.count(handler) != 0) return Errc::handler_in_use;
    AuthKey key;
    for (std::uint8_t& byte : key.bytes) {
      byte = static_cast<std::uint8_t>(network_.random().next());
    }
    const TargetName target{++next_target_, network_.random().next()};
    Prepared p = freeze(process.memory(), process.child(), process.image.get(), id_, handler,
                        Generation{next_target_}, target, key, copy_on_write);
    if (!p.image->good()) return Errc::bad_descriptor;
    if (options_.lease != 0) p.lease_until = network_.events().now() + options_.lease;
    prepared_.emplace(handler, std::move(p));
    return Ticket{id_, handler, key};
  }
  /// Access ends here and now.
  void reclaim(HandlerId handler) { prepared_.erase(handler); }
  [[nodiscard]] const Prepared* prepared(HandlerId handler) const {
    const auto found = prepared_.find(handler);
    return found == prepared_.end() ? nullptr : &found->second;
  }

  // -- children
  // -------------------------------------------------------------------------------------

  /// Makes a child here of a parent anywhere; `parent` is the parent's machine object, which this
  /// one talks to by messages only.
  void resume(Machine& parent, const Ticket& ticket, const RunPolicy& policy, const Resumed& done) {
    auto& events = network_.events();
    const Costs& costs = network_.model().costs;
    if (!network_.up(ticket.machine)) {
      events.after(costs.detect_crash, tag(), [done] { done(Errc::machine_unreachable); });
      return;
    }
    const Time there = network_.send(id_, ticket.machine, 128, events.now());
    events.at(there + costs.rpc, tag(), [this, &parent, ticket, policy, done] {
      const auto reply = parent.query(ticket);
      const std::uint64_t bytes = reply ? reply.value()->bytes().size() : 64;
      const Time back = network_.send(ticket.machine, id_, bytes, network_.events().now());
      if (!reply) {
        network_.events().at(back, tag(), [done, why = reply.code()] { done(why); });
        return;
      }
      network_.events().at(back, tag(), [this, image = reply.value(), policy, done] {
        make_child(image, policy, done);
      });
    });
  }
  /// fork(2) in a process of this machine; in a resumed one the pager hears of it a little later.
  std::shared_ptr<Process> fork(Process& process) {
    auto copy = start();
    process.memory().copy_to(copy->memory());
    if (process.child() == nullptr) return copy;
    copy->image = process.image;
    copy->policy = process.policy;
    wire_up(*copy);
    const Time forked = process.change(
        [this, &process, copy] {
          const std::uint32_t slot = slot_of(*copy);
          auto child = make_driver(*copy, slot);
          (void)process.child()->fork_into(*child);  // a broken copy fails its faults
          copy->serve(std::move(child), slot);
        },
        Process::nothing);
    copy->expect_driver(forked);
    return copy;
  }
  void exit(const std::shared_ptr<Process>& process) {
    process->exit();
    bury(slot_of(*process));
  }

  // -- accidents
  // --------------------------------------------------------------------------------------

  /// The machine loses power: processes, caches and prepared parents are gone.
  void crash() {
    network_.crash(id_);
    prepared_.clear();
    for (auto& [slot, process] : processes_) process->exit();
  }
  /// The agent dies; shadows stay, and a new agent finds them again at `boot`.
  void crash_agent() { network_.crash(id_); }
  void boot() {
    network_.start(id_, [this](TargetName target, std::uint64_t address, MutableBytes into) {
      return read(target, address, into);
    });
  }

  // -- asking
  // -------------------------------------------------------------------------------------------

  [[nodiscard]] MachineId id() const noexcept { return id_; }
  [[nodiscard]] std::size_t processes() const noexcept { return processes_.size(); }
  [[nodiscard]] std::uint64_t landings_in_use() const noexcept { return landing_.used(); }
  /// SharedPages pages that somebody has promised to fetch.
  [[nodiscard]] std::uint64_t pages_filling() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [key, cache] : caches_) sum += cache->filling();
    return sum;
  }

 private:
  using CacheKey = std::tuple<MachineId, std::uint64_t, std::uint64_t>;

  [[nodiscard]] std::uint64_t tag() const noexcept { return static_cast<std::uint64_t>(id_); }

  Result<std::shared_ptr<const Image>> query(const Ticket& ticket) {
    if (!network_.up(id_)) return Errc::machine_unreachable;
    const auto found = prepared_.find(ticket.handler);
    if (found == prepared_.end()) return Errc::unknown_handler;
    if (!(found->second.key == ticket.key)) return Errc::wrong_key;
    if (network_.events().now() >= found->second.lease_until) return Errc::lease_expired;
    return found->second.image;
  }
  Errc read(TargetName target, std::uint64_t address, MutableBytes into) {
    for (auto& [handler, p] : prepared_) {
      if (!(p.target == target)) continue;
      if (network_.events().now() >= p.lease_until) return Errc::lease_expired;
      return p.read(address, into);
    }
    return Errc::revoked;
  }

  void make_child(const std::shared_ptr<const Image>& image, const RunPolicy& policy,
                  const Resumed& done) {
    auto process = start();
    process->image = image;
    process->policy = policy;
    for (const descriptor::VmaRecord vma : image->view().vmas()) {
      process->map({page_of(vma.start), (vma.end - vma.start) >> page_shift});
    }
    wire_up(*process);
    const std::uint32_t slot = slot_of(*process);
    auto driver = make_driver(*process, slot);
    if (const Errc loaded = driver->load(image->view()); loaded != Errc::ok) return done(loaded);
    process->serve(std::move(driver), slot);
    if (!policy.eager()) return done(process);
    starting_.push_back({process, done});
    process->on_progress = [this] { look_after(); };
    process->child()->start_eager();
    look_after();
  }
  /// What a paged process needs of its machine.
  void wire_up(Process& process) {
    process.memory().random = &network_.random();
    process.memory().again_per_million = options_.again_per_million;
    SharedPages& cache = cache_for(*process.image);
    process.memory().cached_ = [&cache](PageNumber key) { return cache.at(key); };
  }
  std::unique_ptr<AnyChild> make_driver(Process& process, std::uint32_t slot) {
    SimPlatform platform(network_.events(), process.memory(), cache_for(*process.image),
                         fabric_for(process.policy.name.transport), fallback_, landing_,
                         process.image);
    return process.policy.make(std::move(platform), slot, options_.deadlines);
  }
  SharedPages& cache_for(const Image& image) {
    const descriptor::OwnerRecord owner = image.view().owners()[0];
    auto& cache = caches_[{MachineId{owner.machine}, owner.handler, owner.generation}];
    if (!cache) cache = std::make_unique<SharedPages>(image.view(), options_.cache_budget);
    return *cache;
  }
  AnyFabric& fabric_for(TransportKind transport) {
    auto& fabric = fabrics_[transport];
    if (!fabric) {
      fabric = std::make_unique<AnyFabric>(
          options_.fabric(network_, id_, transport, [this, transport] { drain(transport); }));
    }
    return *fabric;
  }

  void drain(TransportKind transport) {
    ReadCompletion done[32];
    AnyFabric& fabric = fabric_for(transport);
    for (std::size_t n = 0; (n = fabric.poll(done, network_.events().now())) > 0;) {
      for (std::size_t i = 0; i < n; ++i) complete(done[i].cookie, done[i].status);
    }
  }
  void complete(std::uint64_t cookie, Errc status) {
    const std::uint32_t slot = Cookie::unpack(cookie).child;
    const auto found = processes_.find(slot);
    if (found == processes_.end()) return;
    found->second->child()->on_completion(cookie, status);
    bury(slot);
    look_after();
  }
  /// What one child's read has brought may have moved others along.
  void look_after() {
    for (auto& [slot, process] : processes_) process->arm();
    for (std::size_t i = 0; i < starting_.size();) {
      const auto [process, done] = starting_[i];
      const Errc error = process->child()->eager_error();
      if (error == Errc::ok && !process->child()->all_present()) {
        ++i;
        continue;
      }
      starting_.erase(starting_.begin() + static_cast<std::ptrdiff_t>(i));
      if (error == Errc::ok) {
        done(process);
      } else {
        exit(process);
        done(error);
      }
      i = 0;  // `done` may have started others
    }
  }
  /// A driver goes when nothing of it is out any more.
  void bury(std::uint32_t slot) {
    const auto found = processes_.find(slot);
    if (found == processes_.end() || !found->second->exited()) return;
    if (found->second->child() != nullptr && !found->second->child()->idle()) return;
    processes_.erase(found);
  }
  [[nodiscard]] std::uint32_t slot_of(const Process& process) const {
    for (const auto& [slot, p] : processes_) {
      if (p.get() == &process) return slot;
    }
    return 0;
  }

  struct Starting {
    std::shared_ptr<Process> process;
    Resumed done;
  };

  Network& network_;
  MachineId id_;
  MachineOptions options_;
  Landing landing_;
  FallbackReader fallback_;
  std::map<TransportKind, std::unique_ptr<AnyFabric>> fabrics_;
  std::map<CacheKey, std::unique_ptr<SharedPages>> caches_;
  std::map<HandlerId, Prepared> prepared_;
  std::map<std::uint32_t, std::shared_ptr<Process>> processes_;
  std::vector<Starting> starting_;
  std::uint32_t next_slot_ = 1;
  std::uint32_t next_target_ = 0;
};

}  // namespace mitosis::sim
