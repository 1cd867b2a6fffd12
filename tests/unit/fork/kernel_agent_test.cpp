// SPDX-License-Identifier: MIT
// What the kernel module asks agents, of the agent's own server; and all that it reads, on bytes
// that are no messages.
#include <random>

#include "../net/corpus.hpp"
#include "kernel_world.hpp"

namespace mitosis::test {
namespace {

class OneParent : public NoService {
 public:
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller& caller, HandlerId id,
                                                const AuthKey& key) override {
    if (caller.machine != module_machine) return Errc::not_permitted;
    if (id != HandlerId{73}) return Errc::unknown_handler;
    if (!(key == AuthKey{{4, 2}})) return Errc::wrong_key;
    return rpc::DescriptorLease{bytes, Generation{9}, 5000, "rc+prefetch8+none+cow"};
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId, Generation g) override {
    if (g != Generation{9}) return Errc::unknown_handler;
    return std::uint64_t{7000};
  }
  std::shared_ptr<std::vector<std::uint8_t>> bytes =
      std::make_shared<std::vector<std::uint8_t>>(some_parent().descriptor);
};

class Asking : public KernelAgent {
 protected:
  OneParent service;
  TestServer server{service};
  UniqueFd fd;
  mitosis_socket socket;

  void connect() {
    auto address = tcp::resolve(server.address);
    ASSERT_TRUE(address.ok());
    fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->length),
        0);
    socket.fd = fd.get();
  }
  int greet(auth::Purpose purpose, MachineId expected = server_machine) {
    connect();
    return kernel::greet(&socket, purpose, expected);
  }
};

TEST_F(Asking, ADescriptorOfManyParts) {
  ASSERT_EQ(greet(auth::Purpose::rpc), 0);
  mitosis_fetched fetched = {};
  ASSERT_EQ(kernel::query(&socket, 1, HandlerId{73}, AuthKey{{4, 2}}, fetched), 0);
  const auto* bytes = static_cast<const std::uint8_t*>(fetched.bytes);
  EXPECT_EQ(std::vector<std::uint8_t>(bytes, bytes + fetched.size), *service.bytes);
  EXPECT_EQ(fetched.generation, 9u);
  EXPECT_EQ(fetched.lease_ms, 5000u);
  mitosis_shim_free(fetched.bytes);
}

/// However slowly it comes, as long as it goes on.
TEST_F(Asking, EachPartOfABigDescriptorHasTheTimeOfACall) {
  service.bytes->resize(3 * std::size_t{rpc::max_part} + 77);
  ASSERT_EQ(greet(auth::Purpose::rpc), 0);
  mitosis_fetched fetched = {};
  ASSERT_EQ(kernel::query(&socket, 1, HandlerId{73}, AuthKey{{4, 2}}, fetched), 0);
  EXPECT_EQ(fetched.size, service.bytes->size());
  EXPECT_EQ(shim::world.given_time, 3);
  mitosis_shim_free(fetched.bytes);
}

TEST_F(Asking, WhatIsRefusedIsSaidInWords) {
  ASSERT_EQ(greet(auth::Purpose::rpc), 0);
  mitosis_fetched fetched = {};
  EXPECT_EQ(kernel::query(&socket, 1, HandlerId{73}, AuthKey{{4, 3}}, fetched), -EACCES);
  EXPECT_EQ(kernel::query(&socket, 2, HandlerId{74}, AuthKey{{4, 2}}, fetched), -ENOENT);
  EXPECT_EQ(shim::world.said,
            (std::vector<std::string>{words(Errc::wrong_key), words(Errc::unknown_handler)}));
}

TEST_F(Asking, ALeaseAndAPing) {
  ASSERT_EQ(greet(auth::Purpose::rpc), 0);
  rpc::NilReply nil;
  EXPECT_EQ(kernel::call(&socket, 1, rpc::Nil{}, nil), 0);
  rpc::LeaseReply lease;
  EXPECT_EQ(kernel::call(&socket, 2, rpc::RenewLease{HandlerId{73}, Generation{9}}, lease), 0);
  EXPECT_EQ(lease.lease_ms, 7000u);
  EXPECT_EQ(kernel::call(&socket, 3, rpc::RenewLease{HandlerId{73}, Generation{8}}, lease),
            -ENOENT);
}

TEST_F(Asking, WhoHasNotTheSecretOrIsAnother) {
  EXPECT_EQ(greet(auth::Purpose::rpc, MachineId{9}), -EACCES);
  shim::world.secret = "not the shared secret";
  EXPECT_EQ(greet(auth::Purpose::rpc), -EACCES);
}

TEST_F(Asking, PagesByALane) {
  ASSERT_EQ(greet(auth::Purpose::demand_reads), 0);
  constexpr std::uint64_t counts[] = {1, 64, 17};
  std::vector<std::vector<std::uint8_t>> memory;
  mitosis_read reads[3];
  for (std::uint32_t i = 0; i < 3; ++i) {
    memory.emplace_back(counts[i] * page_size);
    reads[i] = {100 * (i + 1), counts[i], memory.back().data(), 0, MITOSIS_PENDING};
  }
  reads[1].result = 0;  // is done
  mitosis_u64 sequence = 0;
  ASSERT_EQ(kernel::read_lane(&socket, &sequence, good_target, reads, 3), 0);
  EXPECT_EQ(sequence, 2u);
  reads[1].result = MITOSIS_PENDING;
  ASSERT_EQ(kernel::read_lane(&socket, &sequence, good_target, reads, 3), 0);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(reads[i].result, 0);
    for (std::size_t at = 0; at < memory[i].size(); ++at) {
      ASSERT_EQ(memory[i][at], byte_at((100 * (i + 1) << page_shift) + at));
    }
  }
  server.targets.revoke();
  for (mitosis_read& read : reads) read.result = MITOSIS_PENDING;
  ASSERT_EQ(kernel::read_lane(&socket, &sequence, good_target, reads, 3), 0);
  for (const mitosis_read& read : reads) EXPECT_EQ(read.result, -ESTALE);
}

TEST(KernelWireFuzz, TheCorpusAndMutationsOfItHarmNothing) {
  shim::world = {};
  shim::world.prepared[7] = some_parent();
  const auto inputs = fuzz::corpus(MITOSIS_WIRE_CORPUS);
  ASSERT_GE(inputs.size(), 16u) << "where is the corpus?";
  for (const auto& input : inputs) fuzz::run_kernel(Bytes(input.data(), input.size()));
  std::mt19937 random(20261127);
  for (int i = 0; i < 5'000; ++i) {
    const std::vector<std::uint8_t> input = fuzz::mutate(inputs, random);
    fuzz::run_kernel(Bytes(input.data(), input.size()));
  }
}

}  // namespace
}  // namespace mitosis::test
