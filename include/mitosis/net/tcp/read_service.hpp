// SPDX-License-Identifier: MIT
// ReadService: what the server's read lanes serve: bytes of targets. World: user.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>

#include <concepts>
#include <cstdint>

namespace mitosis::tcp {

/// Called by all lane threads at once. ok: `into` is filled. Any other status: no byte counts; of
/// a target that is destroyed or was never there: revoked. Must not block for long.
class ReadService {
 public:
  virtual ~ReadService() = default;
  virtual Errc read(const TargetName& target, std::uint64_t address,
                    MutableBytes into) noexcept = 0;
};

/// What can be served: mem's TargetTable, or a test's own memory.
template <class T>
concept ReadableTargets = requires(T t, TargetName target, std::uint64_t address,
                                   MutableBytes into) {
  { t.read(target, address, into) } -> std::same_as<Errc>;
};
static_assert(!ReadableTargets<int>);

/// Adapts a table that it does not own.
template <ReadableTargets Table>
class ServedTargets final : public ReadService {
 public:
  explicit ServedTargets(Table& table) noexcept : table_(&table) {}
  Errc read(const TargetName& target, std::uint64_t address, MutableBytes into) noexcept override {
    return table_->read(target, address, into);
  }

 private:
  Table* table_;
};

}  // namespace mitosis::tcp
