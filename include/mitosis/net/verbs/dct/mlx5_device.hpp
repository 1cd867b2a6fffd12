// SPDX-License-Identifier: MIT
// Mlx5Device: dynamic connections through mlx5dv. World: user; links with libmlx5.
// The only file that calls mlx5dv. It has been checked against the provider's headers and manual
// (mlx5dv_create_qp(3), mlx5dv_wr_post(3), ibv_wr_post(3)), and has never run on such a device.
#pragma once

#include <infiniband/mlx5dv.h>

#include <mitosis/net/verbs/address_handle.hpp>
#include <mitosis/net/verbs/completion_queue.hpp>
#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/dct/device.hpp>
#include <mitosis/net/verbs/nic.hpp>
#include <mitosis/net/verbs/queue_pair.hpp>
#include <mitosis/policy/axes.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace mitosis::verbs {

/// One port of an mlx5 device. All that it makes must end before it does. One thread.
class Mlx5Device {
 public:
  using Initiator = QueuePair;
  using Target = QueuePair;
  using Handle = AddressHandle;
  /// Retries end: 14 is 67 ms an attempt (4.096 us * 2^14), so a peer is lost within half a second.
  static constexpr std::uint8_t timeout = 14;
  static constexpr std::uint8_t retries = 6;

  /// `completions`: as many as can be outstanding. transport_unsupported: it is no mlx5 device, or
  /// one without dynamic connections; says what to use.
  static Result<std::unique_ptr<Mlx5Device>> open(const Nic& nic, int completions) {
    if (!::mlx5dv_is_supported(nic.context().get()->device)) return unsupported("no mlx5 device");
    Result<EventChannel> channel = EventChannel::make(nic.context());
    if (!channel.ok()) return channel.error();
    Result<CompletionQueue> queue = CompletionQueue::make(nic.context(), completions, &*channel);
    if (!queue.ok()) return queue.error();
    std::unique_ptr<Mlx5Device> device(
        new Mlx5Device(nic, std::move(channel).value(), std::move(queue).value()));
    // Whether this one can shows when one is made.
    const Result<Initiator> probe = device->make_initiator();
    if (!probe.ok()) return unsupported("an mlx5 device that refuses one");
    return device;
  }
  Mlx5Device(const Mlx5Device&) = delete;
  Mlx5Device& operator=(const Mlx5Device&) = delete;
  ~Mlx5Device() {
    if (shared_receives_ != nullptr) ::ibv_destroy_srq(shared_receives_);
  }

  Result<Initiator> make_initiator() {
    ibv_qp_init_attr_ex wanted = {};
    wanted.qp_type = IBV_QPT_DRIVER;
    wanted.send_cq = wanted.recv_cq = queue_.get();
    wanted.cap.max_send_wr = DCT::send_queue;
    wanted.cap.max_send_sge = 1;
    wanted.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    wanted.pd = nic_->domain().get();
    wanted.send_ops_flags = IBV_QP_EX_WITH_RDMA_READ;
    mlx5dv_qp_init_attr driver = {};
    driver.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC | MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS;
    driver.create_flags = MLX5DV_QP_CREATE_DISABLE_SCATTER_TO_CQE;
    driver.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCI;
    ibv_qp* const raw = ::mlx5dv_create_qp(nic_->context().get(), &wanted, &driver);
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "mlx5dv_create_qp (DCI)", errno)
          .in("make an initiator");
    }
    Initiator initiator(raw);
    if (Result<void> ready = raise(initiator); !ready.ok()) return ready.error();
    return initiator;
  }

  Result<void> reset(Initiator& initiator) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_RESET;
    Result<void> done = initiator.modify(attributes, IBV_QP_STATE, "initiator: reset");
    return done.ok() ? raise(initiator) : done;
  }

  Result<Target> make_target(std::uint64_t key) {
    if (Result<void> ready = make_shared_receives(); !ready.ok()) return ready.error();
    ibv_qp_init_attr_ex wanted = {};
    wanted.qp_type = IBV_QPT_DRIVER;
    wanted.send_cq = wanted.recv_cq = queue_.get();
    wanted.comp_mask = IBV_QP_INIT_ATTR_PD;
    wanted.pd = nic_->domain().get();
    wanted.srq = shared_receives_;
    mlx5dv_qp_init_attr driver = {};
    driver.comp_mask = MLX5DV_QP_INIT_ATTR_MASK_DC;
    driver.dc_init_attr.dc_type = MLX5DV_DCTYPE_DCT;
    driver.dc_init_attr.dct_access_key = key;
    ibv_qp* const raw = ::mlx5dv_create_qp(nic_->context().get(), &wanted, &driver);
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "mlx5dv_create_qp (DCT)", errno).in("make a target");
    }
    Target target(raw);
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = nic_->port();
    attributes.qp_access_flags = IBV_ACCESS_REMOTE_READ;
    Result<void> done = target.modify(
        attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
        "target: init");
    if (!done.ok()) return done.error();
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = nic_->mtu();
    attributes.min_rnr_timer = 12;  // 0.64 ms; nothing is ever sent to it
    attributes.ah_attr = nic_->way();
    // Its number is given by the device in this step, and is in qp_num after it.
    done =
        target.modify(attributes, IBV_QP_STATE | IBV_QP_PATH_MTU | IBV_QP_MIN_RNR_TIMER | IBV_QP_AV,
                      "target: ready");
    if (!done.ok()) return done.error();
    return target;
  }
  [[nodiscard]] std::uint32_t number(const Target& target) const noexcept {
    return target.number();
  }

  Result<Handle> make_handle(const DcPort& port) {
    ibv_ah_attr to = nic_->way();
    std::memcpy(to.grh.dgid.raw, port.gid.data(), port.gid.size());
    to.dlid = port.lid;
    return AddressHandle::make(nic_->domain(), to);
  }

  /// The doorbell is rung in ibv_wr_complete; where that fails none of the reads was taken.
  Result<void> post(Initiator& initiator, const Handle& handle, std::uint32_t number,
                    std::uint64_t key, Span<const DcWork> work) {
    ibv_qp_ex* const queue = ::ibv_qp_to_qp_ex(initiator.get());
    mlx5dv_qp_ex* const driver = ::mlx5dv_qp_ex_from_ibv_qp_ex(queue);
    ::ibv_wr_start(queue);
    for (const DcWork& read : work) {
      queue->wr_id = read.id;
      queue->wr_flags = IBV_SEND_SIGNALED;
      ::ibv_wr_rdma_read(queue, read.from.remote_key, read.from.address);
      ::ibv_wr_set_sge(queue, read.into.local_key, reinterpret_cast<std::uint64_t>(read.into.data),
                       static_cast<std::uint32_t>(read.from.bytes));
      ::mlx5dv_wr_set_dc_addr(driver, handle.get(), number, key);
    }
    if (const int e = ::ibv_wr_complete(queue); e != 0) {
      return Error(Errc::system_call_failed, "ibv_wr_complete", e).in("post reads");
    }
    return {};
  }

  std::size_t poll(Span<DcEnd> ends) {
    ibv_wc done[32];
    const std::size_t most = std::min(ends.size(), sizeof done / sizeof *done);
    const Result<std::size_t> count = queue_.poll(Span<ibv_wc>(done, most));
    if (!count.ok()) return 0;  // a queue that is broken: deadlines end what was out
    for (std::size_t i = 0; i < *count; ++i) {
      ends[i] = {done[i].wr_id, errc_of(done[i].status)};
    }
    return *count;
  }

  Result<void> arm() {
    channel_.drain();
    return queue_.arm();
  }
  void drain() noexcept { channel_.drain(); }
  [[nodiscard]] int fd() const noexcept { return channel_.fd(); }
  /// Where its targets are reached.
  [[nodiscard]] DcPort port() const noexcept {
    DcPort port;
    std::memcpy(port.gid.data(), nic_->gid().raw, port.gid.size());
    port.lid = nic_->lid();
    return port;
  }

 private:
  Mlx5Device(const Nic& nic, EventChannel channel, CompletionQueue queue)
      : nic_(&nic), channel_(std::move(channel)), queue_(std::move(queue)) {}

  static Error unsupported(const char* why) {
    return Error(Errc::transport_unsupported,
                 (std::string("DCT: ") + why + "; use an rc policy, or --fabric tcp").c_str());
  }
  Result<void> raise(Initiator& initiator) {
    ibv_qp_attr attributes = {};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = nic_->port();
    Result<void> done = initiator.modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT,
                                         "initiator: init");
    if (!done.ok()) return done;
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = nic_->mtu();
    attributes.ah_attr = nic_->way();
    done = initiator.modify(attributes, IBV_QP_STATE | IBV_QP_PATH_MTU | IBV_QP_AV,
                            "initiator: ready to receive");
    if (!done.ok()) return done;
    attributes.qp_state = IBV_QPS_RTS;
    attributes.timeout = timeout;
    attributes.retry_cnt = retries;
    attributes.rnr_retry = retries;
    attributes.max_rd_atomic = nic_->reads_out();
    return initiator.modify(attributes,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                            "initiator: ready to send");
  }
  /// A target must have a shared receive queue, though nothing is ever received by one.
  Result<void> make_shared_receives() {
    if (shared_receives_ != nullptr) return {};
    ibv_srq_init_attr wanted = {};
    wanted.attr.max_wr = 1;
    wanted.attr.max_sge = 1;
    shared_receives_ = ::ibv_create_srq(nic_->domain().get(), &wanted);
    if (shared_receives_ == nullptr) {
      return Error(Errc::system_call_failed, "ibv_create_srq", errno).in("make a target");
    }
    return {};
  }

  const Nic* nic_;
  EventChannel channel_;
  CompletionQueue queue_;  // after its channel, to end before it
  ibv_srq* shared_receives_ = nullptr;
};
static_assert(DcDevice<Mlx5Device>);

}  // namespace mitosis::verbs
