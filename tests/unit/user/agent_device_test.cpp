// SPDX-License-Identifier: MIT
// Worker: where an RDMA device goes while a later worker starts, that one ends and the next goes
// on; where one cannot be opened, workers do without. World: user.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/agent.hpp>
#include <mitosis/net/pool/client.hpp>

#include <functional>
#include <memory>
#include <string>

namespace mitosis::agent {
namespace {

/// What the only device does.
enum class Device { goes, cannot_be_opened } device = Device::goes;

const Error gone(Errc::connection_lost, "the device has gone");

/// A device that is opened and goes then.
class Goes final : public RdmaSide, public Registrar, public TargetObserver {
 public:
  Registrar& registrar() noexcept override { return *this; }
  TargetObserver& observer() noexcept override { return *this; }
  Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<RC>>) override { return gone; }
  Result<PagerFabric> fabric(std::unique_ptr<TcpFabric<DCT>>) override { return gone; }
  Result<void> dynamic() const override { return gone; }
  std::uint64_t bytes_used() const noexcept override { return 0; }
  std::string device() const override { return "none"; }
  Result<void> serve_calls(rpc::Service&, std::function<void(const Error&)>) override {
    return gone;
  }
  Result<std::unique_ptr<rpc::DatagramCalls>> calls_to(MachineId, const rpc::ud::Way&) override {
    return gone;
  }
  Result<void> hold_pool(int, const tcp::AddressBook&) override { return gone; }
  void serve_pool_link(int, const auth::Hello&) override {}
  Result<void> look_after_device() override { return gone; }
  void stop() override {}
  Result<rpc::QueuePairEnd> connect_queue_pair(const rpc::Caller&, std::uint64_t,
                                               const rpc::ConnectQueuePair&) override {
    return gone;
  }
  Result<rpc::ConnectionPlace> expect_connection(const rpc::Caller&, std::uint64_t,
                                                 const rpc::ExpectConnection&) override {
    return gone;
  }
  Result<rpc::PiecesReply> query_pieces(const TargetName&) override { return gone; }
  Result<rpc::ud::Way> way() const override { return gone; }
  void on_session_end(std::uint64_t) override {}
  Result<std::unique_ptr<Registration>> for_landing(MutableBytes) noexcept override { return gone; }
  void on_open(const Parent&) override {}
  void on_close(const TargetName&) override {}
};

class WorkerDevice : public testing::Test {
 protected:
  WorkerDevice() {
    char name[] = "/tmp/mitosis-device-XXXXXX";
    if (::mkdtemp(name) != nullptr) folder_ = name;
    options_.listen = "127.0.0.1:0";
    options_.verbs = true;
    options_.pagers = 1;
    options_.socket = folder_ + "/agent.sock";
    int orders[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders), 0);
    orders_[0] = UniqueFd(orders[0]);
    orders_[1] = UniqueFd(orders[1]);
    local_ = local::listen(options_.socket).value();
    pool_ = pool::listen_at(pool_path()).value();
    images_ = UniqueFd(::memfd_create("images", MFD_CLOEXEC));
  }
  ~WorkerDevice() override {
    ::unlink(options_.socket.c_str());
    ::unlink(pool_path().c_str());
    ::rmdir(folder_.c_str());
  }
  [[nodiscard]] std::string pool_path() const { return folder_ + "/agent.pool.sock"; }
  /// The wait status of the next worker, which ends with what `serve` returns, or with 100 where it
  /// does not start.
  int next_worker(const std::function<int(Worker&)>& serve) {
    table_.worker_starts.fetch_add(1);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(60);
      auto worker = Worker::start(options_, table_,
                                  {local_.get(), orders_[1].get(), -1, pool_.get(), images_.get()});
      ::_exit(worker ? serve(**worker) : 100);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }
  /// Whether the worker that has no device is as it should be; 0: it is.
  int serves_without(Worker& worker) {
    if (worker.rdma != nullptr) return 1;
    if (!worker.look_after_device()) return 2;
    return pool::Pool::attach(pool_path(), 4096).code() == Errc::transport_unsupported ? 0 : 3;
  }
  static void expect_exit(int status, int code) {
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), code);
  }

  std::string folder_;
  AgentOptions options_;
  StateTable& table_ = **StateTable::create();
  UniqueFd orders_[2], local_, pool_, images_;
};

TEST_F(WorkerDevice, TheFirstWorkerEndsInOrder) {
  device = Device::goes;
  expect_exit(next_worker([](Worker&) { return 0; }), 100);
}

/// The keeper takes an end in order for the agent's, and ends its children; another's it makes up
/// for by a new worker.
TEST_F(WorkerDevice, OneThatGoesWhileALaterWorkerStartsIsDoneWithout) {
  device = Device::goes;
  table_.worker_starts.store(1);
  const int status = next_worker([](Worker&) { return 0; });
  ASSERT_TRUE(WIFSIGNALED(status)) << "status " << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  expect_exit(next_worker([this](Worker& worker) { return serves_without(worker); }), 0);
}

/// One that is listed, but cannot be opened, must not have workers end one after the other.
TEST_F(WorkerDevice, OneThatCannotBeOpenedIsNotTriedAgainAtOnce) {
  device = Device::cannot_be_opened;
  table_.worker_starts.store(1);
  expect_exit(next_worker([this](Worker& worker) { return serves_without(worker); }), 0);
  EXPECT_NE(table_.device_failed_at.load(), 0u);
}

}  // namespace

Result<std::unique_ptr<RdmaSide>> open_rdma(const AgentOptions&, TargetTable&, Peers&,
                                            std::function<std::uint64_t()>, int) {
  if (device == Device::cannot_be_opened) return gone;
  return std::unique_ptr<RdmaSide>(std::make_unique<Goes>());
}
bool rdma_is_there(const AgentOptions&) {
  return true;
}

}  // namespace mitosis::agent
