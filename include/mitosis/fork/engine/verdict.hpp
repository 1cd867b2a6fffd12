// SPDX-License-Identifier: MIT
// Verdict: what follows from the end of a read. World: any (freestanding).
#pragma once

#include <mitosis/base/errc.hpp>

#include <cstdint>

namespace mitosis {

/// `install`: the bytes are there. `fallback`: ask the owner's CPU. `retry`: one-sided again, after
/// a pause and while the deadline allows it: the owner may be restarting. `fail`: no other answer
/// will come. `drop`: nobody waits for these pages; they are remote again.
enum class Verdict : std::uint8_t { install, fallback, retry, fail, drop };

/// Errors that asking again cannot change: the owner has said no.
constexpr bool is_final(Errc status) noexcept {
  return status == Errc::revoked || status == Errc::lease_expired || status == Errc::wrong_key ||
         status == Errc::unknown_handler || status == Errc::not_permitted;
}

}  // namespace mitosis
