// SPDX-License-Identifier: MIT
// Address: a resolved socket address, and the parser of "host:port". World: user.
#pragma once

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>

#include <cstring>
#include <string>

namespace mitosis::tcp {

/// An IPv4 or IPv6 address with its port, ready for connect(2) and bind(2).
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* raw() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] int family() const noexcept { return storage.ss_family; }
  [[nodiscard]] std::string text() const {
    char host[NI_MAXHOST] = "?";
    char port[NI_MAXSERV] = "?";
    ::getnameinfo(raw(), length, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV);
    return family() == AF_INET6 ? "[" + std::string(host) + "]:" + port
                                : std::string(host) + ":" + port;
  }
};

/// Resolves "host:port" or "[v6 address]:port"; may ask DNS, so it can block: not for a pager's
/// thread. An empty host is the wildcard (for listening). Errors name the text.
[[nodiscard]] inline Result<Address> resolve(const std::string& text) {
  const auto failed = [&text](const std::string& why) {
    return Error(Errc::invalid_argument, (text + ": " + why).c_str()).in("resolve an address");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) {
    return failed("expected host:port");
  }
  std::string host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (port.find_first_not_of("0123456789") != std::string::npos || port.size() > 5 ||
      std::stoul(port) > 65535) {
    return failed("the port is not a number from 0 to 65535");
  }
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return failed("write an IPv6 address as [address]:port");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (host.empty() ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int status =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (status != 0) return failed(::gai_strerror(status));
  Address address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return address;
}

}  // namespace mitosis::tcp
