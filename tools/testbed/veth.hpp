// SPDX-License-Identifier: MIT
// make_veth: a cable between two network namespaces. World: user.
#pragma once

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <testbed/netns.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mitosis::testbed {

namespace detail {

/// A netlink request under construction; nested attributes are opened and closed by offset.
class NetlinkRequest {
 public:
  explicit NetlinkRequest(std::uint16_t type, std::uint16_t flags) {
    nlmsghdr header = {};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    put(&header, sizeof header);
  }
  void put(const void* data, std::size_t size) {
    const auto* first = static_cast<const std::uint8_t*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = open(type);
    put(data, size);
    close(at, sizeof(rtattr) + size);
  }
  void text(std::uint16_t type, const std::string& value) {
    attribute(type, value.c_str(), value.size() + 1);
  }
  std::size_t open(std::uint16_t type) {
    const rtattr head = {0, type};
    const std::size_t at = bytes_.size();
    put(&head, sizeof head);
    return at;
  }
  void close(std::size_t at) { close(at, bytes_.size() - at); }

  /// Sends it in the calling thread's namespace; 0 or an errno.
  int transact() {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);  // nlmsg_len comes first
    const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket || ::send(socket.get(), bytes_.data(), bytes_.size(), 0) < 0) return errno;
    alignas(nlmsghdr) std::uint8_t reply[4096];
    const ssize_t n = ::recv(socket.get(), reply, sizeof reply, 0);
    if (n < ssize_t{sizeof(nlmsghdr) + sizeof(nlmsgerr)}) return n < 0 ? errno : EPROTO;
    nlmsgerr error;
    std::memcpy(&error, reply + sizeof(nlmsghdr), sizeof error);
    return -error.error;
  }

 private:
  void close(std::size_t at, std::size_t size) {
    const auto length = static_cast<std::uint16_t>(size);
    std::memcpy(bytes_.data() + at, &length, sizeof length);  // rta_len comes first
  }
  std::vector<std::uint8_t> bytes_;
};

}  // namespace detail

/// Makes interface `name` in the calling thread's namespace and `peer_name` in `peer`, joined;
/// both down. Names are at most 15 bytes. Either end's end takes the other with it.
inline Result<void> make_veth(const std::string& name, const NetNamespace& peer,
                              const std::string& peer_name) {
  detail::NetlinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  const ifinfomsg any = {};
  const int peer_fd = peer.fd();
  request.put(&any, sizeof any);
  request.text(IFLA_IFNAME, name);
  const std::size_t info = request.open(IFLA_LINKINFO);
  request.text(IFLA_INFO_KIND, "veth");
  const std::size_t data = request.open(IFLA_INFO_DATA);
  const std::size_t other = request.open(VETH_INFO_PEER);
  request.put(&any, sizeof any);
  request.text(IFLA_IFNAME, peer_name);
  request.attribute(IFLA_NET_NS_FD, &peer_fd, sizeof peer_fd);
  for (const std::size_t at : {other, data, info}) request.close(at);
  const int failed = request.transact();
  if (failed == 0) return {};
  const Errc code = failed == EPERM ? Errc::missing_privilege : Errc::system_call_failed;
  return Error(code, failed == EPERM ? "CAP_NET_ADMIN" : "veth", failed).in("join two namespaces");
}

}  // namespace mitosis::testbed
