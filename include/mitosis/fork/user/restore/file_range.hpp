// SPDX-License-Identifier: MIT
// FileRange: which open files of a tree's root's descriptor are whose. World: user.
#pragma once

#include <mitosis/mem/descriptor/view.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace mitosis::restore {

/// Descriptor numbers [first, end).
struct FileRange {
  std::int32_t first = 0;
  std::int32_t end = std::numeric_limits<std::int32_t>::max();
  [[nodiscard]] constexpr bool has(std::int32_t fd) const noexcept {
    return fd >= first && fd < end;
  }
};

/// Those of the tree's member; all where the process is alone.
inline FileRange files_of(const DescriptorView& root, std::size_t member) noexcept {
  const auto tree = root.tree();
  FileRange range;
  if (tree.empty()) return range;
  range.first = static_cast<std::int32_t>(tree[member].first_file);
  for (std::size_t i = member + 1; i < tree.size(); ++i) {
    if (descriptor::has_ended(tree[i])) continue;
    range.end = static_cast<std::int32_t>(tree[i].first_file);
    break;
  }
  return range;
}

}  // namespace mitosis::restore
