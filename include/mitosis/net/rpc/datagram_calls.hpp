// SPDX-License-Identifier: MIT
// DatagramCalls: calls to one machine over datagrams, as QuickCalls uses them. World: user.
// An interface, so that who calls builds without the verbs library.
#pragma once

#include <mitosis/net/rpc/calls.hpp>

namespace mitosis::rpc {

/// Thread-safe, blocking. Only calls that may be executed twice: what fails is tried over TCP.
class DatagramCalls {
 public:
  DatagramCalls() = default;
  DatagramCalls(const DatagramCalls&) = delete;
  DatagramCalls& operator=(const DatagramCalls&) = delete;
  virtual ~DatagramCalls() = default;
  virtual Result<FetchedDescriptor> query_descriptor(HandlerId handler, const AuthKey& key,
                                                     Time deadline) = 0;
  virtual Result<void> fallback_read(const TargetName& target, std::uint64_t address,
                                     MutableBytes into, Time deadline) = 0;
  virtual Result<std::uint64_t> renew_lease(HandlerId handler, Generation generation,
                                            Time deadline) = 0;
  /// Ends the call in progress (shutting_down), for good.
  virtual void close() = 0;
};

}  // namespace mitosis::rpc
