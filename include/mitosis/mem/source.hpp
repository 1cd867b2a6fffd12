// SPDX-License-Identifier: MIT
// PageSource: where the bytes of a prepared parent are read. World: user.
// A shadow process (Cow<On>) or a copied image (Cow<Off>); a target names one to other machines.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/span.hpp>

#include <cstdint>

namespace mitosis {

/// Frozen memory, by the parent's virtual addresses. Any number of threads at once.
class PageSource {
 public:
  PageSource() = default;
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;
  virtual ~PageSource() = default;

  /// ok: `into` holds the bytes from `address` on, as of prepare. page_unavailable: they cannot
  /// be had (the snapshot is gone, nothing is mapped there), and no byte of `into` counts.
  [[nodiscard]] virtual Errc read(std::uint64_t address, MutableBytes into) noexcept = 0;
};

}  // namespace mitosis
