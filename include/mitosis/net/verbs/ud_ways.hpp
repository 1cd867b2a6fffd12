// SPDX-License-Identifier: MIT
// UdWays: the ways out of a port for datagrams: one handle a port that they lead to. World: user;
// one thread. To make one may ask the network for a neighbour's address, for a second where nobody
// has it; and whoever sends a datagram chooses the address that an answer goes to.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/verbs/address_handle.hpp>
#include <mitosis/net/verbs/device_facts.hpp>
#include <mitosis/net/verbs/errands.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class UdWays {
 public:
  static constexpr std::size_t max_handles = 1024;
  /// That are looked for at a time, and datagrams that wait for them: more are lost.
  static constexpr std::size_t max_asked = 64, max_parked = 256;
  struct Parked {
    rpc::ud::Way to;
    std::vector<std::uint8_t> bytes;
  };

  /// The domain must outlive it.
  UdWays(const ProtectionDomain& domain, std::uint8_t port, std::uint32_t gid_index) noexcept
      : domain_(&domain), port_(port), gid_index_(static_cast<std::uint8_t>(gid_index)) {}
  UdWays(const UdWays&) = delete;
  UdWays& operator=(const UdWays&) = delete;

  /// Null: it is not known. Valid until `forget`.
  [[nodiscard]] const AddressHandle* find(const rpc::ud::Way& to) const noexcept {
    const auto known = handles_.find(key(to));
    return known == handles_.end() ? nullptr : &known->second;
  }
  /// Makes it here and now, which may wait.
  Result<const AddressHandle*> make(const rpc::ud::Way& to) {
    Result<AddressHandle> made = AddressHandle::make(*domain_, way(to));
    if (!made.ok()) return made.error();
    return &handles_.emplace(key(to), std::move(made).value()).first->second;
  }
  /// Keeps a datagram until its way is known, which another thread finds out.
  void park(const rpc::ud::Way& to, Bytes datagram) {
    if (parked_.size() >= max_parked || !ask(to)) return;
    parked_.push_back({to, {datagram.data(), datagram.data() + datagram.size()}});
  }
  /// Readable where `take` has something to do.
  [[nodiscard]] int fd() const noexcept { return errands_.wait_fd(); }
  /// Takes in what was found out: the datagrams whose ways are known by now. Those whose ways
  /// cannot be had are lost.
  [[nodiscard]] std::vector<Parked> take() {
    std::vector<Parked> ready;
    if (!errands_.ready()) return ready;
    errands_.finish();
    std::vector<Parked> rest;
    for (Parked& each : parked_) {
      if (find(each.to) != nullptr) {
        ready.push_back(std::move(each));
      } else if (asked_.contains(key(each.to))) {
        rest.push_back(std::move(each));
      }
    }
    parked_ = std::move(rest);
    return ready;
  }
  [[nodiscard]] bool full() const noexcept { return handles_.size() >= max_handles; }
  /// Ends all handles: nothing that was sent with one may be on its way.
  void forget() noexcept { handles_.clear(); }

 private:
  /// A machine's queue pairs share one.
  using Key = std::pair<Gid, std::uint16_t>;
  static Key key(const rpc::ud::Way& to) { return {to.gid, to.lid}; }

  [[nodiscard]] ibv_ah_attr way(const rpc::ud::Way& to) const noexcept {
    ibv_ah_attr way = {};
    way.is_global = 1;
    std::memcpy(way.grh.dgid.raw, to.gid.data(), to.gid.size());
    way.grh.sgid_index = gid_index_;
    way.grh.hop_limit = 64;
    way.dlid = to.lid;
    way.port_num = port_;
    return way;
  }
  /// Whether it is being looked for.
  bool ask(const rpc::ud::Way& to) {
    const Key wanted = key(to);
    if (asked_.contains(wanted)) return true;
    if (asked_.size() >= max_asked) return false;
    const bool runs = errands_.run([this, wanted, attributes = way(to)]() -> Errands::Answer {
      auto made =
          std::make_shared<Result<AddressHandle>>(AddressHandle::make(*domain_, attributes));
      return [this, wanted, made] {
        asked_.erase(wanted);
        if (made->ok() && !full()) handles_.emplace(wanted, std::move(*made).value());
      };
    });
    if (runs) asked_.insert(wanted);
    return runs;
  }

  const ProtectionDomain* domain_;
  std::uint8_t port_, gid_index_;
  std::map<Key, AddressHandle> handles_;
  std::set<Key> asked_;
  std::vector<Parked> parked_;
  Errands errands_;  ///< last: it ends before what its errands use
};

}  // namespace mitosis::verbs
