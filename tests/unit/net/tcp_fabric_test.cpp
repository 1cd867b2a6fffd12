// SPDX-License-Identifier: MIT
// TcpFabric against a real server over loopback: the right bytes, the right errors, no hang.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <string>

#include "fabric_driver.hpp"

namespace mitosis::test {
namespace {

template <class Transport>
class TcpFabricTest : public ::testing::Test {
 protected:
  NoService service;
  TestServer server{service};
  tcp::AddressBook book;

  void SetUp() override { ASSERT_TRUE(book.set(server_machine, server.address).ok()); }
};
struct TransportNames {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, RC> ? "rc" : "dct";
  }
};
using Transports = ::testing::Types<RC, DCT>;
TYPED_TEST_SUITE(TcpFabricTest, Transports, TransportNames);

TYPED_TEST(TcpFabricTest, ReadsOnePage) {
  FabricDriver<TypeParam> driver(this->book);
  const ReadRequest r = driver.request(0x7f0000001000, 4096);
  EXPECT_EQ(driver.read(r), Errc::ok);
  EXPECT_TRUE(driver.right(r));
}

TYPED_TEST(TcpFabricTest, EveryByteIsRightAtRandomSizesOnBothLanes) {
  FabricDriver<TypeParam> driver(this->book);
  std::mt19937_64 random(7);
  std::vector<ReadRequest> all;
  for (int round = 0; round < 40; ++round) {
    std::vector<ReadRequest> batch;
    for (int i = 0; i < 12; ++i) {
      const unsigned shape = static_cast<unsigned>(random() % 10);
      const std::uint32_t limit = shape == 0 ? tcp::max_read : shape < 4 ? 300'000 : 9000;
      const auto bytes = static_cast<std::uint32_t>(1 + random() % limit);
      const Lane lane = random() % 3 == 0 ? Lane::demand : Lane::bulk;
      batch.push_back(driver.request(random() >> 16, bytes, lane));
    }
    driver.post(batch);
    all.insert(all.end(), batch.begin(), batch.end());
    if (round % 3 == 0) {
      ASSERT_TRUE(driver.complete(all.size()));
    }
  }
  ASSERT_TRUE(driver.complete(all.size()));
  EXPECT_EQ(driver.duplicates, 0);
  for (const ReadRequest& r : all) {
    ASSERT_EQ(driver.status[r.cookie], Errc::ok);
    ASSERT_TRUE(driver.right(r)) << r.bytes << " bytes";
  }
}

}  // namespace
}  // namespace mitosis::test
