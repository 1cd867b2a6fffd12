// SPDX-License-Identifier: MIT
// RdmaSide: what an agent with an RDMA device does besides the others. World: user.
// An interface, so that the agent builds without the verbs library, and its units without its
// headers.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/options.hpp>
#include <mitosis/fork/user/agent/pager_fabric.hpp>
#include <mitosis/fork/user/agent/target_observer.hpp>
#include <mitosis/mem/registrar.hpp>
#include <mitosis/mem/target_table.hpp>
#include <mitosis/net/rpc/datagram_calls.hpp>
#include <mitosis/net/rpc/service.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/fabric.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace mitosis::agent {

class Peers;

/// Thread-safe; made before all that uses it and ends after it. `stop` before `targets` ends.
class RdmaSide {
 public:
  RdmaSide() = default;
  RdmaSide(const RdmaSide&) = delete;
  RdmaSide& operator=(const RdmaSide&) = delete;
  virtual ~RdmaSide() = default;

  /// For memory that reads land in.
  [[nodiscard]] virtual Registrar& registrar() noexcept = 0;
  /// Registers this machine's parents.
  [[nodiscard]] virtual TargetObserver& observer() noexcept = 0;
  /// A pager's fabrics; `second` is the way to what RDMA does not reach. DCT: over TCP alone where
  /// the device has no dynamic connections.
  virtual Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<RC>> second) = 0;
  virtual Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<DCT>> second) = 0;
  /// Whether it has. Where not, policies with DCT are refused: the error's subject says what to
  /// use.
  [[nodiscard]] virtual Result<void> dynamic() const = 0;
  /// Pinned: copies of parents, what the connection pool has.
  [[nodiscard]] virtual std::uint64_t bytes_used() const noexcept = 0;
  /// The device, as a user knows it.
  [[nodiscard]] virtual std::string device() const = 0;

  /// Serves other machines' calls by datagrams from now on; the service must outlive `stop`.
  /// Where the device cannot, all calls go over TCP. `on_refusal`, of any thread, hears of those
  /// that were refused, and that the device has gone.
  virtual Result<void> serve_calls(rpc::Service& service,
                                   std::function<void(const Error&)> on_refusal) = 0;
  /// A machine's calls, which takes them at `way`.
  virtual Result<std::unique_ptr<rpc::DatagramCalls>> calls_to(MachineId machine,
                                                               const rpc::ud::Way& way) = 0;

  /// Holds a connection to each machine of the book, which this machine's processes use: they
  /// attach at `listener` (pool::listen_at). Both must outlive it.
  virtual Result<void> hold_pool(int listener, const tcp::AddressBook& book) = 0;
  /// Another machine's pool has called (tcp::Server's on_pool_link); must have returned before
  /// this ends.
  virtual void serve_pool_link(int fd, const auth::Hello& hello) = 0;

  /// Reads what the device tells by itself, and warns of it; to be called about once a second. An
  /// error: it has failed or is being removed, and nothing can be had of it any more. The kernel
  /// may wait for this process to let go of it.
  virtual Result<void> look_after_device() = 0;

  /// Registers no more parents, serves no more calls and holds no pool; before what it was made of
  /// ends.
  virtual void stop() = 0;

  // What other machines ask (rpc::Service).
  virtual Result<rpc::QueuePairEnd> connect_queue_pair(const rpc::Caller& caller,
                                                       std::uint64_t session,
                                                       const rpc::ConnectQueuePair& request) = 0;
  virtual Result<rpc::ConnectionPlace> expect_connection(const rpc::Caller& caller,
                                                         std::uint64_t session,
                                                         const rpc::ExpectConnection& request) = 0;
  virtual Result<rpc::PiecesReply> query_pieces(const TargetName& target) = 0;
  virtual Result<rpc::ud::Way> way() const = 0;
  virtual void on_session_end(std::uint64_t session) = 0;
};

/// Opens the device that the options name. All but the options must outlive it; `images` is a memfd
/// that copies of parents are put in, by each worker of an agent. Defined in one translation unit
/// of the program; transport_unsupported where that was built without verbs.
Result<std::unique_ptr<RdmaSide>> open_rdma(const AgentOptions& options, TargetTable& targets,
                                            Peers& peers,
                                            std::function<std::uint64_t()> budget_left, int images);

/// Whether such a device could be opened now. Defined beside it.
bool rdma_is_there(const AgentOptions& options);

}  // namespace mitosis::agent
