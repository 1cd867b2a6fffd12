// SPDX-License-Identifier: MIT
// KernelFabric: reads of the owners' pages, on this machine or from another. World: kernel.
// Whoever faults waits: a batch is posted with one doorbell and has ended when `post` returns.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/fork/platform.hpp>

namespace mitosis::kernel {

/// One a child, used under its lock. The shim knows the owners: a target's number is an owner's
/// index in the descriptor. `poll` tells of what `post` has done.
class KernelFabric {
 public:
  explicit KernelFabric(mitosis_child* child) noexcept : child_(child) {}

  void post(Span<const ReadRequest> batch) noexcept {
    static_assert(max_reads <= MITOSIS_MAX_READS);
    mitosis_read reads[max_reads];
    while (!batch.empty()) {
      const Span<const ReadRequest> now = batch.sub(0, max_reads);
      for (std::size_t i = 0; i < now.size(); ++i) {
        reads[i] = {now[i].remote_address >> page_shift, now[i].bytes >> page_shift,
                    now[i].into.data, now[i].target.number, MITOSIS_PENDING};
      }
      mitosis_shim_read(child_, reads, static_cast<mitosis_u32>(now.size()));
      // Revoked is final: a connection that broke has taken its owner's promise along.
      for (std::size_t i = 0; i < now.size(); ++i) {
        complete(now[i].cookie, reads[i].result == 0 ? Errc::ok : Errc::revoked);
      }
      batch = batch.sub(max_reads);
    }
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t count = 0;
    while (count < done.size() && first_ != end_) done[count++] = done_[first_++ % max_ops];
    return count;
  }
  void forget(MachineId) noexcept {}
  /// A read through the owner's CPU: the shim has made it already where it could.
  void refuse(const ReadRequest& request) noexcept {
    complete(request.cookie, Errc::page_unavailable);
  }

 private:
  /// A child has at most max_ops reads out, and each completes once.
  void complete(std::uint64_t cookie, Errc status) noexcept {
    done_[end_++ % max_ops] = {cookie, status};
  }

  mitosis_child* child_;
  unsigned first_ = 0, end_ = 0;
  ReadCompletion done_[max_ops];
};
static_assert(Fabric<KernelFabric>);

}  // namespace mitosis::kernel
