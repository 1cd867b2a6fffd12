// SPDX-License-Identifier: MIT
// Which RDMA device, port and gid is used, and what a user hears of one that cannot be.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/net/verbs/device_choice.hpp>
#include <mitosis/net/verbs/device_list.hpp>
#include <mitosis/net/verbs/interface_address.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mitosis::verbs {
namespace {

Gid ipv4(std::uint8_t last) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last};
}
Gid ipv6(std::uint8_t first, std::uint8_t second) {
  return {first, second, 0, 0, 0, 0, 0, 0, 1};
}

/// As a RoCE card has them: both versions of each address, link-local first.
PortFacts ethernet_port(const std::string& interface) {
  PortFacts port;
  port.active = true;
  port.state = "active";
  port.link_layer = "Ethernet";
  port.gids = {{0, GidType::roce_v1, ipv6(0xfe, 0x80), interface},
               {1, GidType::roce_v2, ipv6(0xfe, 0x80), interface},
               {2, GidType::roce_v1, ipv4(1), interface},
               {3, GidType::roce_v2, ipv4(1), interface},
               {4, GidType::roce_v2, ipv6(0x20, 0x01), interface}};
  return port;
}
DeviceFacts card(const std::string& name, const std::string& interface) {
  DeviceFacts device;
  device.name = name;
  device.limits.queue_pairs = 1000;
  device.limits.reads_in_flight = 16;
  device.ports = {ethernet_port(interface)};
  return device;
}
DeviceFacts infiniband(const std::string& name) {
  DeviceFacts device = card(name, "");
  PortFacts& port = device.ports[0];
  port.link_layer = "InfiniBand";
  port.gids = {{0, GidType::infiniband, ipv6(0xfe, 0x80), ""},
               {1, GidType::infiniband, ipv6(0xfe, 0x80), ""}};
  return device;
}
std::string chosen(const std::vector<DeviceFacts>& devices, const DeviceWish& wish = {}) {
  const Result<ChosenGid> gid = choose(devices, wish);
  if (!gid.ok()) return describe(gid.error());
  return fmt::format("{}/{}/{}", gid->device, gid->port, gid->gid.index);
}
bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(DeviceChoice, TakesARoutedRoceV2AddressAndTheFirstOfEqualDevices) {
  EXPECT_EQ(chosen({card("mlx5_0", "eth0"), card("mlx5_1", "eth1")}), "mlx5_0/1/3");
}
TEST(DeviceChoice, TakesInfinibandBeforeEthernetAndThePortsOwnGid) {
  EXPECT_EQ(chosen({card("rxe0", "eth0"), infiniband("mlx5_0")}), "mlx5_0/1/0");
}
TEST(DeviceChoice, TakesALinkLocalV2AddressBeforeAnyV1) {
  DeviceFacts device = card("rxe0", "eth0");
  device.ports[0].gids.resize(3);
  EXPECT_EQ(chosen({device}), "rxe0/1/1");
}
TEST(DeviceChoice, ANamedDeviceInterfacePortOrGidIsTaken) {
  const std::vector<DeviceFacts> both = {card("mlx5_0", "eth0"), card("mlx5_1", "eth1")};
  EXPECT_EQ(chosen(both, {"mlx5_1", {}, {}}), "mlx5_1/1/3");
  EXPECT_EQ(chosen(both, {"eth1", {}, {}}), "mlx5_1/1/3");
  EXPECT_EQ(chosen(both, {"", {}, 0}), "mlx5_0/1/0");
  EXPECT_EQ(chosen(both, {"mlx5_1", 1, 4}), "mlx5_1/1/4");
}
TEST(DeviceChoice, SkipsADownLinkAndSaysSoWhereNothingElseIsLeft) {
  DeviceFacts down = card("mlx5_0", "eth0");
  down.ports[0].active = false;
  down.ports[0].state = "down";
  EXPECT_EQ(chosen({down, card("mlx5_1", "eth1")}), "mlx5_1/1/3");
  const std::string why = chosen({down});
  EXPECT_TRUE(has(why, "mlx5_0 port 1: its link is down: set the interface up")) << why;
  EXPECT_TRUE(has(why, words(Errc::transport_unsupported))) << why;
}
TEST(DeviceChoice, SaysWhatIsThereWhereTheNamedOneIsNot) {
  const std::string why =
      chosen({card("mlx5_0", "eth0"), card("rxe0", "eth1")}, {"mlx4_0", {}, {}});
  EXPECT_TRUE(has(why, "no RDMA device `mlx4_0`; there is mlx5_0, rxe0")) << why;
  EXPECT_TRUE(has(chosen({card("rxe0", "eth1")}, {"rxe0", 2, {}}), "no such port or gid"));
  EXPECT_TRUE(has(chosen({card("rxe0", "eth1")}, {"", {}, 77}), "no such port or gid"));
  EXPECT_TRUE(has(chosen({}), "no RDMA device"));
}
TEST(DeviceChoice, EachThingThatCannotBeUsedHasItsReason) {
  DeviceFacts device = card("a", "eth0");
  device.broken = "it cannot be opened: Permission denied";
  EXPECT_EQ(why_unusable(device), device.broken);
  EXPECT_TRUE(has(chosen({device}), "a: it cannot be opened: Permission denied"));
  device = card("a", "eth0");
  device.limits.reads_in_flight = 0;
  EXPECT_EQ(why_unusable(device), "it cannot read remote memory");
  device = card("a", "");  // an interface that was removed
  EXPECT_TRUE(has(chosen({device}), "a port 1 gid 0: its network interface has gone"));
  device.ports[0].gids.clear();
  EXPECT_TRUE(has(chosen({device}), "it has no gid: give its network interface an address"));
  device.ports.clear();
  EXPECT_EQ(why_unusable(device), "it has no port");
  EXPECT_FALSE(why_unusable(GidFacts{}).empty());
}

/// As the kernel tells one: its gid is a MAC, and the rest is the interface's.
DeviceFacts iwarp(const std::string& address, const std::string& interface = "eth0") {
  DeviceFacts device = card("siw0", "eth0");
  device.iwarp = true;
  device.ports[0].gids = {{0, GidType::iwarp, {0x52, 0x54, 0, 0, 0, 1}, interface, address}};
  return device;
}
TEST(DeviceChoice, TakesIwarpAfterRoutedRoceAndByItsInterface) {
  EXPECT_EQ(chosen({iwarp("10.0.0.1")}), "siw0/1/0");
  EXPECT_EQ(chosen({iwarp("10.0.0.1"), card("rxe0", "eth1")}), "rxe0/1/3");
  EXPECT_EQ(chosen({card("rxe0", "eth1"), iwarp("10.0.0.1")}, {"eth0", {}, {}}), "siw0/1/0");
}
TEST(DeviceChoice, IwarpNeedsAnAddressToConnectBy) {
  EXPECT_TRUE(has(chosen({iwarp("")}), "has no IPv4 address, by which iWARP connects"));
  EXPECT_TRUE(has(chosen({iwarp("", "")}), "more than one has an IPv4 address"));
}
TEST(InterfaceOfMac, IsTheOneToConnectBy) {
  const MacHolder card{"eth0", true, true}, bare{"eth0", false, true}, second{"eth1", false, true};
  const MacHolder vlan{"eth0.5", true, false}, bond{"bond0", true, false};
  EXPECT_EQ(choose_holder({}), "");
  EXPECT_EQ(choose_holder({bare}), "eth0") << "that it has no address is another refusal";
  EXPECT_EQ(choose_holder({bare, second, bond}), "bond0");
  EXPECT_EQ(choose_holder({vlan, card}), "eth0");
  EXPECT_EQ(choose_holder({bare, vlan, bond}), "") << "nobody knows which";
}
TEST(GidText, OfIwarpIsTheInterfacesAddress) {
  EXPECT_EQ(address_text(iwarp("10.0.0.1").ports[0].gids[0]), "10.0.0.1");
  EXPECT_EQ(address_text(iwarp("").ports[0].gids[0]), "");
}

TEST(GidText, IsWhatPeopleKnow) {
  EXPECT_EQ(address_text(ipv4(7)), "10.0.0.7");
  EXPECT_EQ(gid_text(ipv4(7)), "0000:0000:0000:0000:0000:ffff:0a00:0007");
  EXPECT_EQ(address_text(ipv6(0xfe, 0x80)), "fe80::100:0:0:0");
  EXPECT_STREQ(type_name(GidType::roce_v2), "RoCE v2");
}

TEST(NoDevice, IsExplainedByWhatTheKernelHas) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / fmt::format("nics{}", ::getpid());
  std::filesystem::create_directories(folder);
  EXPECT_TRUE(has(why_no_device(folder), "no RDMA device"));
  std::filesystem::create_directories(folder / "infiniband/rxe0");
  EXPECT_TRUE(has(why_no_device(folder), "modprobe ib_uverbs"));
  std::filesystem::create_directories(folder / "infiniband_verbs/uverbs0");
  EXPECT_TRUE(has(why_no_device(folder), "install ibverbs-providers"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace mitosis::verbs
