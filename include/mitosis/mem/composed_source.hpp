// SPDX-License-Identifier: MIT
// ComposedSource: private memory from one source, shared objects from another. World: user.
// A shadow shares such memory with its parent, which goes on writing to it: what was copied of it
// at prepare is served instead.
#pragma once

#include <mitosis/mem/source.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace mitosis {

/// Addresses from `boundary` on are `high`'s, the others `low`'s; a read of both is neither's.
class ComposedSource final : public PageSource {
 public:
  ComposedSource(std::shared_ptr<PageSource> low, std::uint64_t boundary,
                 std::shared_ptr<PageSource> high) noexcept
      : low_(std::move(low)), boundary_(boundary), high_(std::move(high)) {}

  [[nodiscard]] Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    if (address >= boundary_) return high_->read(address, into);
    if (into.size() > boundary_ - address) return Errc::page_unavailable;
    return low_->read(address, into);
  }

 private:
  std::shared_ptr<PageSource> low_;
  std::uint64_t boundary_;
  std::shared_ptr<PageSource> high_;
};

}  // namespace mitosis
