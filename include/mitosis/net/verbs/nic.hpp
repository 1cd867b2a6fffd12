// SPDX-License-Identifier: MIT
// Nic: a device as an agent uses it: opened, with one port, one address, one protection domain.
// World: user.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>

#include <mitosis/net/verbs/device_choice.hpp>
#include <mitosis/net/verbs/device_list.hpp>
#include <mitosis/net/verbs/memory_region.hpp>
#include <mitosis/net/verbs/protection_domain.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

namespace mitosis::verbs {

/// Made once, used by any thread; outlives all that is made of it.
class Nic {
 public:
  /// transport_unsupported, invalid_argument: as device_choice.hpp says. Of soft-iWARP it raises
  /// the process's limit of locked memory, where it may.
  static Result<Nic> open(const DeviceWish& wish);

  Nic(Nic&&) noexcept = default;
  Nic& operator=(Nic&&) = delete;  // the old domain would end after its context
  ~Nic() = default;

  [[nodiscard]] const Context& context() const noexcept { return context_; }
  [[nodiscard]] const ProtectionDomain& domain() const noexcept { return domain_; }
  /// What was chosen.
  [[nodiscard]] const ChosenGid& at() const noexcept { return at_; }
  [[nodiscard]] std::uint8_t port() const noexcept { return port_; }
  [[nodiscard]] std::uint8_t gid_index() const noexcept { return gid_index_; }
  [[nodiscard]] const ibv_gid& gid() const noexcept { return gid_; }
  [[nodiscard]] std::uint16_t lid() const noexcept { return lid_; }
  [[nodiscard]] ibv_mtu mtu() const noexcept { return mtu_; }
  /// A way out of the port; who it leads to is to be filled in (grh.dgid, dlid).
  [[nodiscard]] ibv_ah_attr way() const noexcept {
    ibv_ah_attr way = {};
    way.is_global = 1;
    way.grh.sgid_index = gid_index_;
    way.grh.hop_limit = 64;
    way.port_num = port_;
    return way;
  }
  /// An IP address of the device, as text ("[fe80::1]" with brackets); empty: it has none.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// iWARP: rdma_cm alone connects, there are no datagrams, and who connects speaks first.
  [[nodiscard]] bool iwarp() const noexcept { return at_.gid.type == GidType::iwarp; }
  /// For memory that reads land in. iWARP's answer to a read is a write of the owner's into it (RFC
  /// 5040, 5.4), so it has to be open to such writes.
  [[nodiscard]] MemoryRegion::Access landing() const noexcept {
    return iwarp() ? MemoryRegion::for_landing_of_iwarp : MemoryRegion::for_landing;
  }
  /// Whether memory can be registered under other addresses than its own: soft-iWARP ignores them.
  [[nodiscard]] bool any_address() const noexcept { return any_address_; }
  /// Whether peers can read memory of it that is not pinned.
  [[nodiscard]] bool on_demand() const noexcept { return on_demand_; }
  /// Reads what the device tells by itself, at most some events; `on_news(news, why)` hears of
  /// each that changes something. One thread calls it, about once a second.
  template <class OnNews>
  void look_after(OnNews on_news) const {
    constexpr int most = 64;
    for (int i = 0; i < most; ++i) {
      const auto event = context_.next_event();
      if (!event) break;
      const DeviceHealth::News news = health_->on_event(*event);
      if (news != DeviceHealth::News::none) on_news(news, ::ibv_event_type_str(event->type));
    }
    if (!context_.leaves()) return;
    const DeviceHealth::News news = health_->on_gone();
    if (news != DeviceHealth::News::none) on_news(news, "it is being removed");
  }
  /// Whether its port is up, and it has not failed; as of the last look_after.
  [[nodiscard]] bool usable() const noexcept { return health_->usable(); }
  /// Reads that a queue pair may have open, as their reader and as their target.
  [[nodiscard]] std::uint8_t reads_out() const noexcept { return reads_out_; }
  [[nodiscard]] std::uint8_t reads_in() const noexcept { return reads_in_; }

 private:
  static constexpr int max_reads = 16;
  static constexpr std::uint32_t soft_iwarp = 0x626d74;  ///< SIW_VENDOR_ID (linux: siw.h)

  Nic(Context context, ProtectionDomain domain) noexcept
      : context_(std::move(context)), domain_(std::move(domain)) {}

  Context context_;
  ProtectionDomain domain_;
  ChosenGid at_;
  std::uint8_t port_ = 1;
  std::uint8_t gid_index_ = 0;
  ibv_gid gid_ = {};
  std::uint16_t lid_ = 0;
  ibv_mtu mtu_ = IBV_MTU_1024;
  std::string address_;
  bool any_address_ = true;
  bool on_demand_ = false;
  std::uint8_t reads_out_ = 1;
  std::uint8_t reads_in_ = 1;
  std::unique_ptr<DeviceHealth> health_;
};

namespace detail {

/// soft-iWARP asks what may be locked (ulimit -l) of root too, which others do not. Of this process
/// alone, as far as it may.
inline void lift_lock_limit() noexcept {
  const rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
  (void)::setrlimit(RLIMIT_MEMLOCK, &all);
}

/// RoCE's gids are addresses; else the network interface has one (of InfiniBand: IPoIB).
inline std::string ip_address_of(const GidFacts& gid) {
  char text[INET6_ADDRSTRLEN] = {};
  if (gid.type == GidType::roce_v2 && is_ipv4(gid.bytes)) {
    ::inet_ntop(AF_INET, gid.bytes.data() + 12, text, sizeof text);
    return text;
  }
  if (gid.type == GidType::roce_v2 && !is_link_local(gid.bytes)) {
    ::inet_ntop(AF_INET6, gid.bytes.data(), text, sizeof text);
    return "[" + std::string(text) + "]";
  }
  return gid.type == GidType::iwarp ? gid.address : ipv4_of_interface(gid.interface);
}

}  // namespace detail

inline Result<Nic> Nic::open(const DeviceWish& wish) {
  const auto chosen = choose(list_devices(), wish);
  if (!chosen) return chosen.error();
  auto context = Context::open(chosen->device.c_str());
  if (!context) return context.error();
  auto domain = ProtectionDomain::make(*context);
  if (!domain) return domain.error();
  Nic nic(std::move(context).value(), std::move(domain).value());
  const auto limits = nic.context_.attributes();
  if (!limits) return limits.error();
  const auto port = nic.context_.port(chosen->port);
  if (!port) return port.error();
  const auto gid = nic.context_.gid(chosen->port, static_cast<int>(chosen->gid.index));
  if (!gid) return gid.error();
  if (chosen->gid.index > 255) return Error(Errc::limit_exceeded, "a gid of an index over 255");
  nic.at_ = *chosen;
  nic.port_ = chosen->port;
  nic.health_ = std::make_unique<DeviceHealth>(chosen->port, port->state == IBV_PORT_ACTIVE);
  nic.gid_index_ = static_cast<std::uint8_t>(chosen->gid.index);
  nic.gid_ = *gid;
  nic.lid_ = port->lid;
  nic.mtu_ = port->active_mtu;
  nic.any_address_ = limits->vendor_id != soft_iwarp;
  if (limits->vendor_id == soft_iwarp) detail::lift_lock_limit();
  nic.on_demand_ = reads_on_demand(nic.context_.get());
  nic.address_ = detail::ip_address_of(chosen->gid);
  const auto reads = [](int most) {
    return static_cast<std::uint8_t>(std::clamp(most, 1, max_reads));
  };
  nic.reads_out_ = reads(limits->max_qp_init_rd_atom);
  nic.reads_in_ = reads(limits->max_qp_rd_atom);
  return nic;
}

}  // namespace mitosis::verbs
