// SPDX-License-Identifier: MIT
// LocalFabric: reads of parents on this machine, which copy at once. World: kernel.
// What another machine owns is told as unreachable: RDMA is not built into the module yet.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/fork/platform.hpp>

namespace mitosis::kernel {

/// One a child, used under its lock. `post` completes everything it is given; `poll` tells of it.
class LocalFabric {
 public:
  explicit LocalFabric(mitosis_child* child) noexcept : child_(child) {}

  void post(Span<const ReadRequest> batch) noexcept {
    for (const ReadRequest& request : batch) complete(request.cookie, read(request));
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t count = 0;
    while (count < done.size() && first_ != end_) done[count++] = done_[first_++ % max_ops];
    return count;
  }
  void forget(MachineId) noexcept {}
  /// A read through the owner's CPU: there is none to ask but this one.
  void refuse(const ReadRequest& request) noexcept {
    complete(request.cookie, Errc::page_unavailable);
  }

 private:
  Errc read(const ReadRequest& request) noexcept {
    if (request.peer != MachineId{mitosis_shim_machine()}) return Errc::machine_unreachable;
    const int result = mitosis_shim_read_local(child_, request.remote_address >> page_shift,
                                               request.bytes >> page_shift, request.into.data);
    // Revoked is final: nobody asks again.
    return result == 0 ? Errc::ok : Errc::revoked;
  }
  /// A child has at most max_ops reads out, and each completes once.
  void complete(std::uint64_t cookie, Errc status) noexcept {
    done_[end_++ % max_ops] = {cookie, status};
  }

  mitosis_child* child_;
  unsigned first_ = 0, end_ = 0;
  ReadCompletion done_[max_ops];
};
static_assert(Fabric<LocalFabric>);

}  // namespace mitosis::kernel
