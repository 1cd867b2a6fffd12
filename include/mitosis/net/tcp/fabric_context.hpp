// SPDX-License-Identifier: MIT
// FabricContext: what the lanes of one fabric share. World: user; one thread.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/net/auth/handshake.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/ring.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::tcp {

/// Times of a fabric, in milliseconds.
struct FabricOptions {
  std::uint64_t connect_ms = 2000;      ///< connect and handshake together
  std::uint64_t backoff_min_ms = 10;    ///< after a failed connect; doubles each time
  std::uint64_t backoff_max_ms = 1000;  ///< no request waits longer for the next try
};

struct FabricContext {
  auth::Identity identity;
  const AddressBook* book = nullptr;
  FabricOptions options;
  int epoll = -1;
  Ring<ReadCompletion> done;        ///< completions that poll has not handed out yet
  std::vector<std::uint8_t> scrap;  ///< where bytes go that nobody waits for any more
  Error last_failure;               ///< why a connection last failed, for reports
};

}  // namespace mitosis::tcp
