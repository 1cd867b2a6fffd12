// SPDX-License-Identifier: MIT
// WorkingSets: what the children of each parent fetch first. World: user; one pager thread.
#pragma once

#include <mitosis/fork/user/agent/image.hpp>
#include <mitosis/fork/working_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace mitosis::agent {

/// Kept by the parent's name, so that it outlasts a child whose image goes with it. That of the
/// parent which had no child for the longest makes room.
class WorkingSets {
 public:
  static constexpr std::size_t most = 64;  ///< some 8 KiB each

  /// The one of that parent, an empty one where there is none yet.
  std::shared_ptr<WorkingSet> of(const ImageName& parent) {
    Entry& entry = entries_[parent];
    entry.last_use = ++clock_;
    if (entry.set == nullptr) entry.set = std::make_shared<WorkingSet>();
    std::shared_ptr<WorkingSet> found = entry.set;
    if (entries_.size() > most) {
      entries_.erase(std::min_element(
          entries_.begin(), entries_.end(),
          [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; }));
    }
    return found;
  }

 private:
  struct Entry {
    std::shared_ptr<WorkingSet> set;
    std::uint64_t last_use = 0;
  };
  std::map<ImageName, Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace mitosis::agent
