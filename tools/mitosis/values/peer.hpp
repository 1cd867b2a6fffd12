// SPDX-License-Identifier: MIT
// Machines as a user names them: an id, an address, and ID=HOST:PORT for both. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace mitosis::tools {

/// A machine's id: 0 to 4294967294 (the last number means "none").
inline Result<MachineId> parse_machine(std::string_view text) {
  std::uint32_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || rest != end || MachineId{number} == MachineId::none) {
    const std::string about = "`" + std::string(text) + "` is not a number from 0 to 4294967294";
    return Error(Errc::invalid_argument, about.c_str()).in("read a machine id");
  }
  return MachineId{number};
}

/// Checks "host:port" or "[v6]:port" and gives it back; whether it exists shows on connecting.
inline Result<std::string> parse_address(std::string_view text) {
  const auto bad = [text](const char* why) {
    return Error(Errc::invalid_argument, ("`" + std::string(text) + "` " + why).c_str())
        .in("read an address");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad("is not HOST:PORT");
  const std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (!bracketed && host.find_first_of(":[]") != std::string_view::npos) {
    return bad("needs brackets about an IPv6 address: [2001:db8::1]:7411");
  }
  std::uint16_t number = 0;
  const char* end = port.data() + port.size();
  const auto [rest, error] = std::from_chars(port.data(), end, number);
  if (error != std::errc{} || rest != end) return bad("has no port from 0 to 65535");
  return std::string(text);
}

/// "2=10.0.0.2:7411".
inline Result<std::pair<MachineId, std::string>> parse_peer(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    const std::string about = "`" + std::string(text) + "` is not ID=HOST:PORT";
    return Error(Errc::invalid_argument, about.c_str()).in("read a peer");
  }
  Result<MachineId> machine = parse_machine(text.substr(0, equals));
  if (!machine) return machine.error();
  Result<std::string> address = parse_address(text.substr(equals + 1));
  if (!address) return address.error();
  return std::pair(*machine, std::move(*address));
}

}  // namespace mitosis::tools
