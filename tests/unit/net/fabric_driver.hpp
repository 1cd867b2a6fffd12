// SPDX-License-Identifier: MIT
// FabricDriver: posts reads and collects completions as a pager would. World: user.
#pragma once

#include <poll.h>

#include <mitosis/net/tcp/fabric.hpp>

#include "test_server.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::test {

/// Owns a fabric and the memory of its requests; sleeps on wait_fd like a pager.
template <class Transport>
class FabricDriver {
 public:
  explicit FabricDriver(const tcp::AddressBook& book,
                        auth::Identity self = identity(client_machine),
                        tcp::FabricOptions options = {})
      : fabric(std::move(TcpFabric<Transport>::open(std::move(self), book, options)).value()) {}

  /// A request for `bytes` at `address`; its cookie is its index.
  ReadRequest request(std::uint64_t address, std::uint32_t bytes, Lane lane = Lane::demand,
                      MachineId peer = server_machine, std::uint64_t patience_ms = 10'000) {
    buffers.push_back(std::make_unique<std::vector<std::uint8_t>>(bytes, std::uint8_t{0xee}));
    ReadRequest r;
    r.peer = peer;
    r.target = good_target;
    r.remote_address = address;
    r.bytes = bytes;
    r.lane = lane;
    r.into.data = buffers.back()->data();
    r.cookie = buffers.size() - 1;
    r.deadline = tcp::deadline_in(patience_ms);
    return r;
  }
  void post(const ReadRequest& r) { fabric->post(Span<const ReadRequest>(&r, 1)); }
  void post(const std::vector<ReadRequest>& batch) { fabric->post(batch); }

  /// Polls until `count` requests have completed or `ms` have passed; true in the former case.
  bool complete(std::size_t count, std::uint64_t ms = 20'000) {
    const Time end = tcp::deadline_in(ms);
    while (status.size() < count) {
      ReadCompletion done[16];
      const std::size_t got = fabric->poll(done, tcp::monotonic_now());
      for (std::size_t i = 0; i < got; ++i) {
        order.push_back(done[i].cookie);
        duplicates += status.emplace(done[i].cookie, done[i].status).second ? 0 : 1;
      }
      const Time now = tcp::monotonic_now();
      if (now >= end) return status.size() >= count;
      if (got > 0) continue;
      const Time next = fabric->next_deadline();
      pollfd waiting{fabric->wait_fd(), POLLIN, 0};
      ::poll(&waiting, 1, tcp::timeout_ms(next < end ? next : end, now));
    }
    return true;
  }
  /// The status of a request that must be made and completed here.
  Errc read(const ReadRequest& r) {
    post(r);
    return complete(status.size() + 1) ? status[r.cookie] : Errc::last;
  }
  /// Whether the request's memory holds the target's bytes.
  bool right(const ReadRequest& r) const {
    for (std::uint32_t i = 0; i < r.bytes; ++i) {
      if (r.into.data[i] != byte_at(r.remote_address + i)) return false;
    }
    return true;
  }

  std::vector<std::unique_ptr<std::vector<std::uint8_t>>> buffers;
  std::map<std::uint64_t, Errc> status;  ///< by cookie
  std::vector<std::uint64_t> order;      ///< cookies as they completed
  int duplicates = 0;
  std::unique_ptr<TcpFabric<Transport>> fabric;
};

}  // namespace mitosis::test
