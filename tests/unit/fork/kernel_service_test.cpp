// SPDX-License-Identifier: MIT
// What the kernel module answers agents, asked by the agent's own client.
#include <mitosis/net/rpc/client.hpp>
#include <mitosis/net/tcp/handshake.hpp>

#include <atomic>
#include <thread>

#include "kernel_world.hpp"

namespace mitosis::test {
namespace {

/// Serves connections as listener.c does, one thread each.
class ServingModule {
 public:
  ServingModule() {
    auto any = tcp::resolve("127.0.0.1:0");
    auto listening = tcp::listen_on(*any);
    listener_ = std::move(listening).value();
    address = "127.0.0.1:" + std::to_string(tcp::local_port(listener_.get()));
    acceptor_ = std::thread([this] {
      for (;;) {
        const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0 && stopping_.load()) ::close(fd);
        if (stopping_.load()) return;
        if (fd < 0) {
          std::this_thread::yield();
          continue;
        }
        fds_.emplace_back(fd);
        threads_.emplace_back([fd] { serve(fd); });
      }
    });
  }
  ~ServingModule() {
    stopping_.store(true);
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (const UniqueFd& fd : fds_) ::shutdown(fd.get(), SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
  }
  std::string address;

 private:
  static void serve(int fd) {
    mitosis_socket socket{fd, {}};
    auth::Purpose purpose{};
    if (kernel::admit(&socket, purpose) == 0) {
      if (purpose == auth::Purpose::rpc) {
        kernel::CallSession(&socket).run();
      } else {
        kernel::serve_lane(&socket);
      }
    }
    ::shutdown(fd, SHUT_RDWR);
  }
  UniqueFd listener_;
  std::atomic<bool> stopping_{false};
  std::vector<UniqueFd> fds_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

class Asked : public KernelAgent {
 protected:
  ServingModule module;
  tcp::AddressBook book;
  void SetUp() override {
    KernelAgent::SetUp();
    ASSERT_TRUE(book.set(module_machine, module.address).ok());
  }
  static Time soon() { return tcp::deadline_in(10'000); }
};

TEST_F(Asked, EveryCall) {
  rpc::Client client(identity(client_machine), book, module_machine);
  EXPECT_TRUE(client.ping(soon()).ok());
  const auto fetched = client.query_descriptor(HandlerId{73}, AuthKey{{4, 2}}, soon());
  ASSERT_TRUE(fetched.ok());
  EXPECT_EQ(fetched->bytes, some_parent().descriptor);
  EXPECT_EQ(fetched->generation, Generation{9});
  EXPECT_EQ(fetched->lease_ms, 0u);
  EXPECT_EQ(fetched->policy, "rc+prefetch8+none+cow");
  const auto lease = client.renew_lease(HandlerId{73}, Generation{9}, soon());
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(*lease, 0u);
  std::vector<std::uint8_t> pages(3 * page_size);
  ASSERT_TRUE(client.fallback_read({5, 0xabcdef}, 4 * page_size, pages, soon()).ok());
  EXPECT_EQ(pages[0], 'e');
  EXPECT_EQ(pages[2 * page_size], 'g');
  EXPECT_TRUE(client.reclaim(HandlerId{73}, AuthKey{{4, 2}}, soon()).ok());
  EXPECT_EQ(client.fallback_read({5, 0xabcdef}, 0, pages, soon()).code(), Errc::revoked);
}

TEST_F(Asked, AReclaimThatComesAgainIsAnsweredTheSame) {
  for (int i = 0; i < 2; ++i) {  // each in a session of its own, as after a lost reply
    rpc::Client client(identity(client_machine), book, module_machine);
    EXPECT_TRUE(client.reclaim(HandlerId{73}, AuthKey{{4, 2}}, soon()).ok());
    EXPECT_EQ(client.reclaim(HandlerId{73}, AuthKey{{4, 3}}, soon()).code(), Errc::unknown_handler);
    EXPECT_EQ(client.reclaim(HandlerId{74}, AuthKey{{4, 2}}, soon()).code(), Errc::unknown_handler);
  }
}

TEST_F(Asked, WhatIsRefusedLeavesTheSession) {
  rpc::Client client(identity(client_machine), book, module_machine);
  EXPECT_EQ(client.query_descriptor(HandlerId{73}, AuthKey{{4, 3}}, soon()).code(),
            Errc::wrong_key);
  EXPECT_EQ(client.query_descriptor(HandlerId{74}, AuthKey{}, soon()).code(),
            Errc::unknown_handler);
  EXPECT_EQ(client.reclaim(HandlerId{73}, AuthKey{}, soon()).code(), Errc::wrong_key);
  EXPECT_EQ(client.renew_lease(HandlerId{73}, Generation{8}, soon()).code(), Errc::unknown_handler);
  std::vector<std::uint8_t> page(page_size);
  EXPECT_EQ(client.fallback_read({5, 1}, 0, page, soon()).code(), Errc::revoked);
  EXPECT_EQ(client.fallback_read({5, 0xabcdef}, 20 * page_size, page, soon()).code(),
            Errc::invalid_argument);
  EXPECT_EQ(client.fallback_read({5, 0xabcdef}, 1, page, soon()).code(), Errc::invalid_argument);
  EXPECT_EQ(client.query_pieces({5, 0xabcdef}, soon()).code(), Errc::transport_unsupported);
  EXPECT_EQ(client.query_way(soon()).code(), Errc::transport_unsupported);
  EXPECT_TRUE(client.connected());
}

TEST_F(Asked, WhoHasNotTheSecret) {
  rpc::Client client(identity(client_machine, "another secret of all"), book, module_machine);
  EXPECT_EQ(client.ping(soon()).code(), Errc::authentication_failed);
}

TEST_F(Asked, PagesByALane) {
  std::vector<std::uint8_t> memory(20 * page_size);
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = tcp::resolve(module.address);
  ASSERT_EQ(
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->length),
      0);
  tcp::FrameStream stream(fd.get());
  auth::ClientHandshake handshake(identity(client_machine), module_machine,
                                  auth::Purpose::bulk_reads);
  ASSERT_TRUE(tcp::handshake_as_client(stream, handshake, soon()).ok());
  const tcp::LaneRequest requests[] = {
      {5, static_cast<std::uint32_t>(memory.size()), 0xabcdef, 0, 0},
      {5, page_size, 0xabcdee, 0, 1},
  };
  ASSERT_EQ(::send(fd.get(), requests, sizeof requests, 0), ssize_t{sizeof requests});
  for (std::uint32_t left = static_cast<std::uint32_t>(memory.size()); left > 0;) {
    tcp::PartHeader part;
    ASSERT_EQ(::recv(fd.get(), &part, sizeof part, MSG_WAITALL), ssize_t{sizeof part});
    EXPECT_EQ(part.sequence, 0u);
    ASSERT_EQ(part.bytes, tcp::part_bytes(left));
    ASSERT_EQ(::recv(fd.get(), memory.data() + memory.size() - left, part.bytes, MSG_WAITALL),
              ssize_t{part.bytes});
    left -= part.bytes;
  }
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(memory[i * page_size], 'a' + i);
  tcp::PartHeader last;
  ASSERT_EQ(::recv(fd.get(), &last, sizeof last, MSG_WAITALL), ssize_t{sizeof last});
  EXPECT_EQ(last.status, static_cast<std::uint32_t>(Errc::revoked));
}

}  // namespace
}  // namespace mitosis::test
