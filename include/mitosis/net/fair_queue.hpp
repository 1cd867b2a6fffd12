// SPDX-License-Identifier: MIT
// FairQueue: requests that wait for an endpoint. World: any (freestanding); fixed memory.
// First in, first out for each destination; the destinations take turns, those of demand reads
// before those of bulk reads.
#pragma once

#include <mitosis/net/endpoint_pool.hpp>

#include <cstdint>

namespace mitosis {

/// At most `Capacity` items. Every operation is bounded by Capacity steps.
template <class Item, std::uint32_t Capacity>
class FairQueue {
 public:
  FairQueue() noexcept {
    for (std::uint32_t i = 0; i < Capacity; ++i) nodes_[i].next = i + 1 < Capacity ? i + 1 : nil;
  }

  /// False where it is full.
  [[nodiscard]] bool push(Destination d, const Item& item) noexcept {
    if (free_ == nil) return false;
    const std::uint32_t node = free_;
    free_ = nodes_[node].next;
    nodes_[node].item = item;
    nodes_[node].next = nil;
    Line* line = find(d);
    if (line == nullptr) {
      line = &lines_[line_count_++];  // there are no more lines than items
      *line = Line{d, node, node};
    } else {
      nodes_[line->last].next = node;
      line->last = node;
    }
    ++size_;
    return true;
  }

  /// Lets the destinations try in turn: `try_item(destination, item)` says whether the item went.
  /// A destination whose item went gets behind the others; one whose item did not is not asked
  /// again in this call. Ends when nobody's item goes.
  template <class TryItem>
  void offer(TryItem try_item) noexcept {
    offer_lane(Lane::demand, try_item);
    offer_lane(Lane::bulk, try_item);
  }

  /// Removes the items for which `drop(destination, item)` is true, in order for each destination.
  template <class Drop>
  void remove_if(Drop drop) noexcept {
    for (std::uint32_t l = 0; l < line_count_;) {
      Line& line = lines_[l];
      std::uint32_t* link = &line.first;
      line.last = nil;
      while (*link != nil) {
        const std::uint32_t node = *link;
        if (drop(line.destination, nodes_[node].item)) {
          *link = nodes_[node].next;
          put_back(node);
        } else {
          line.last = node;
          link = &nodes_[node].next;
        }
      }
      if (line.first == nil) {
        erase_line(l);
      } else {
        ++l;
      }
    }
  }

  [[nodiscard]] bool has(Destination d) const noexcept {
    return const_cast<FairQueue*>(this)->find(d) != nullptr;
  }
  /// Whether requests to other destinations than this one wait.
  [[nodiscard]] bool others(Destination d) const noexcept {
    return line_count_ > (has(d) ? 1u : 0u);
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

 private:
  static constexpr std::uint32_t nil = 0xffffffffu;
  struct Node {
    Item item{};
    std::uint32_t next = nil;
  };
  struct Line {
    Destination destination;
    std::uint32_t first = nil;
    std::uint32_t last = nil;
  };

  Line* find(Destination d) noexcept {
    for (std::uint32_t l = 0; l < line_count_; ++l) {
      if (lines_[l].destination == d) return &lines_[l];
    }
    return nullptr;
  }
  void put_back(std::uint32_t node) noexcept {
    nodes_[node].next = free_;
    free_ = node;
    --size_;
  }
  void erase_line(std::uint32_t l) noexcept {
    for (std::uint32_t i = l + 1; i < line_count_; ++i) lines_[i - 1] = lines_[i];
    --line_count_;
  }

  template <class TryItem>
  void offer_lane(Lane lane, TryItem& try_item) noexcept {
    // Lines before `l` were refused in this call; one that is served moves behind the others.
    std::uint32_t l = 0;
    while (l < line_count_) {
      Line line = lines_[l];
      if (line.destination.lane != lane) {
        ++l;
        continue;
      }
      const std::uint32_t node = line.first;
      if (!try_item(line.destination, nodes_[node].item)) {
        ++l;
        continue;
      }
      line.first = nodes_[node].next;
      put_back(node);
      erase_line(l);
      if (line.first != nil) lines_[line_count_++] = line;
    }
  }

  Node nodes_[Capacity];
  Line lines_[Capacity];
  std::uint32_t free_ = 0;
  std::uint32_t line_count_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace mitosis
