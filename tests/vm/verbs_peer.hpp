// SPDX-License-Identifier: MIT
// Two ends of a verbs fabric without agents, for tests and measurements in emulated machines.
// World: user. The owner serves one target of a known pattern, by RDMA and over TCP.
#pragma once

#include <sys/mman.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/mem/shared_mapping.hpp>
#include <mitosis/net/rpc/client.hpp>
#include <mitosis/net/tcp/server.hpp>
#include <mitosis/net/verbs/fabric.hpp>
#include <mitosis/net/verbs/registered_pool.hpp>
#include <mitosis/net/verbs/served_queue_pairs.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace mitosis::vm {

inline constexpr std::uint16_t port = 7500;
inline constexpr MachineId owner_machine{1};
inline constexpr MachineId reader_machine{2};
inline constexpr TargetName target{7, 0x1122334455667788};
inline constexpr std::uint64_t start = 0x7f0000000000;  ///< the target's first address
inline constexpr std::uint64_t bytes = std::uint64_t{16} << 20;

template <class T>
T must(Result<T> result) {
  if (result.ok()) {
    if constexpr (std::is_void_v<T>) {
      return;
    } else {
      return std::move(result).value();
    }
  }
  std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
  std::exit(1);
}

/// The status of a program that has found this.
inline int fail(const char* what) {
  std::fprintf(stderr, "FAILED: %s\n", what);
  return 1;
}

inline auth::Identity identity(MachineId machine) {
  static const std::string secret = "a secret that both ends share";
  return {machine, std::make_shared<const auth::Secret>(must(auth::Secret::from(Bytes(
                       reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size()))))};
}

/// The byte at an address: any that is misplaced shows.
inline std::uint8_t byte_at(std::uint64_t address) {
  return static_cast<std::uint8_t>((address + 1) * 0x9e3779b97f4a7c15ull >> 56);
}

/// Serves until it is killed. The call Reclaim revokes the target, for good.
class Owner final : public tcp::ReadService, public rpc::Service {
 public:
  Owner()
      : nic_(must(verbs::Nic::open({}))),
        served_(nic_),
        memory_(must(SharedMapping::anonymous(bytes))),
        pool_(target, PageRanges({{PageNumber{start >> page_shift}, bytes >> page_shift}})) {
    for (std::uint64_t i = 0; i < bytes; ++i) memory_.data()[i] = byte_at(start + i);
    constexpr std::uint64_t piece = bytes / 4;
    for (std::uint64_t at = 0; at < bytes; at += piece) {
      must(pool_.add(nic_, at, MutableBytes(memory_.data() + at, piece)));
    }
    pool_.finish();
    tcp::Server::Options options;
    options.listen = "0.0.0.0:" + std::to_string(port);
    server_ = must(tcp::Server::start(std::move(options), identity(owner_machine), *this, *this));
  }

  Errc read(const TargetName& name, std::uint64_t address, MutableBytes into) noexcept override {
    if (revoked_ || !(name == target)) return Errc::revoked;
    if (address < start || address - start > bytes || into.size() > bytes - (address - start)) {
      return Errc::page_unavailable;
    }
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte_at(address + i);
    return Errc::ok;
  }
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller&, HandlerId,
                                                const AuthKey&) override {
    return Errc::unknown_handler;
  }
  Result<void> fallback_read(const rpc::Caller&, const TargetName& name, std::uint64_t address,
                             MutableBytes into) override {
    return read(name, address, into);
  }
  Result<void> reclaim(const rpc::Caller&, HandlerId, const AuthKey&) override {
    revoked_ = true;
    return pool_.revoke();
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId, Generation) override {
    return Errc::unknown_handler;
  }
  Result<rpc::QueuePairEnd> connect_queue_pair(const rpc::Caller& caller, std::uint64_t session,
                                               const rpc::ConnectQueuePair& request) override {
    return served_.connect(caller.machine, session, request);
  }
  Result<rpc::ConnectionPlace> expect_connection(const rpc::Caller& caller, std::uint64_t session,
                                                 const rpc::ExpectConnection& request) override {
    return served_.expect(caller.machine, session, request);
  }
  Result<rpc::PiecesReply> query_pieces(const rpc::Caller&, const TargetName& name) override {
    return pool_.tell(name);
  }
  void on_session_end(std::uint64_t session) override { served_.end_session(session); }

 private:
  verbs::Nic nic_;
  verbs::ServedQueuePairs served_;
  SharedMapping memory_;
  verbs::RegisteredPool pool_;
  std::atomic<bool> revoked_{false};
  std::unique_ptr<tcp::Server> server_;
};

/// A fabric to the owner, and registered memory for its reads.
class Reader final : public verbs::ControlPath {
 public:
  static constexpr std::uint64_t landing_bytes = std::uint64_t{4} << 20;

  explicit Reader(const std::string& host, bool by_cm = false, bool events = true)
      : nic_(must(verbs::Nic::open({}))),
        memory_(must(SharedMapping::anonymous(landing_bytes))),
        region_(must(verbs::MemoryRegion::make(
            nic_.domain(), MutableBytes(memory_.data(), landing_bytes), nic_.landing()))) {
    must(book_.set(owner_machine, host + ":" + std::to_string(port)));
    calls_ = std::make_unique<rpc::Client>(identity(reader_machine), book_, owner_machine);
    verbs::FabricOptions options;
    options.by_cm = by_cm || nic_.iwarp();
    options.events = events;
    fabric_ = must(VerbsFabric<RC>::open(
        nic_, *this, must(TcpFabric<RC>::open(identity(reader_machine), book_)), options));
  }

  Result<rpc::QueuePairEnd> connect(MachineId, const rpc::ConnectQueuePair& ours,
                                    Time deadline) override {
    return calls_->connect_queue_pair(ours, deadline);
  }
  Result<rpc::ConnectionPlace> place(MachineId, const rpc::ExpectConnection& ours,
                                     Time deadline) override {
    auto told = calls_->expect_connection(ours, deadline);
    if (told && forge_ticket) told->ticket[0] ^= 1;
    return told;
  }
  bool forge_ticket = false;
  Result<rpc::PiecesReply> pieces(MachineId, const TargetName& name, Time deadline) override {
    auto told = calls_->query_pieces(name, deadline);
    if (told && spoil) {
      for (rpc::Piece& piece : told->pieces) spoil(piece);
    }
    return told;
  }
  /// Changes what the owner has told; errands' threads call it.
  std::function<void(rpc::Piece&)> spoil;

  [[nodiscard]] ReadRequest request(std::uint64_t offset, std::uint32_t length,
                                    std::uint64_t landing = 0) {
    ReadRequest r;
    r.peer = owner_machine;
    r.target = target;
    r.remote_address = start + offset;
    r.bytes = length;
    r.into = region_.local(landing);
    r.cookie = ++cookie_;
    r.deadline = tcp::deadline_in(patience_ms);
    return r;
  }
  /// Posts one read and waits for its end.
  Errc read(const ReadRequest& r) {
    fabric_->post(Span<const ReadRequest>(&r, 1));
    for (;;) {
      ReadCompletion done[16];
      const std::size_t count = fabric_->poll(done, tcp::monotonic_now());
      for (std::size_t i = 0; i < count; ++i) {
        if (done[i].cookie == r.cookie) return done[i].status;
      }
      if (count == 0) sleep();
    }
  }
  /// Until the fabric has something to do; false: nothing woke it up, its deadline did.
  bool sleep() {
    pollfd waiting{fabric_->wait_fd(), POLLIN, 0};
    return ::poll(&waiting, 1, tcp::timeout_ms(fabric_->next_deadline(), tcp::monotonic_now())) > 0;
  }
  /// Whether the read's bytes are the owner's.
  [[nodiscard]] static bool right(const ReadRequest& r) {
    for (std::uint32_t i = 0; i < r.bytes; ++i) {
      if (r.into.data[i] != byte_at(r.remote_address + i)) return false;
    }
    return true;
  }
  /// Reads until one goes by RDMA; false where none does in 20 s.
  [[nodiscard]] bool warm_up() {
    const Time end = tcp::deadline_in(20'000);
    const std::uint64_t before = fabric_->counts().rdma;
    while (fabric_->counts().rdma == before && tcp::monotonic_now() < end) {
      (void)read(request(0, page_size));
    }
    return fabric_->counts().rdma > before;
  }
  [[nodiscard]] VerbsFabric<RC>& fabric() noexcept { return *fabric_; }
  [[nodiscard]] rpc::Client& calls() noexcept { return *calls_; }
  std::uint64_t patience_ms = 10'000;

 private:
  verbs::Nic nic_;
  SharedMapping memory_;
  verbs::MemoryRegion region_;
  tcp::AddressBook book_;
  std::unique_ptr<rpc::Client> calls_;
  std::unique_ptr<VerbsFabric<RC>> fabric_;
  std::uint64_t cookie_ = 0;
};

}  // namespace mitosis::vm
