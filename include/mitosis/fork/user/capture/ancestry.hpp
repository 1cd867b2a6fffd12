// SPDX-License-Identifier: MIT
// Ancestry: pages that a prepared child has not fetched itself yet. World: user.
// They look absent in its shadow, but they are not zero: an ancestor's machine still holds them.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/mem/descriptor/records.hpp>
#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis::capture {

/// Pages that `owner` holds at its own pages from `source` on.
struct RemoteRun {
  PageRange pages;
  PageNumber source{};
  std::uint16_t owner = 1;  ///< index into the new descriptor's owners: 1 is the first ancestor
};

/// Empty for a process that was not resumed. Owns nothing.
struct Ancestry {
  Span<const descriptor::OwnerRecord> owners;  ///< [i] becomes owner i + 1
  Span<const RemoteRun> runs;                  ///< by ascending page, not overlapping
};

}  // namespace mitosis::capture
