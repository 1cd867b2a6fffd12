// SPDX-License-Identifier: MIT
// PieceMap: which bytes of one target can be read by RDMA, and under which names. World: user.
// Pure: it knows no device. The reader's side of rpc::PiecesReply.
#pragma once

#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/verbs/remote_memory.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// What a target's machine has told, as of its last answer. Trusts nothing of it: pieces that are
/// empty, overlap others or go past the end of the address space are left out.
class PieceMap {
 public:
  PieceMap() = default;
  explicit PieceMap(rpc::PiecesReply told)
      : pieces_(std::move(told.pieces)), doors_(std::move(told.doors)), complete_(told.complete) {
    std::sort(pieces_.begin(), pieces_.end(),
              [](const rpc::Piece& a, const rpc::Piece& b) { return a.start < b.start; });
    std::uint64_t end = 0;
    std::erase_if(pieces_, [&end](const rpc::Piece& piece) {
      const bool wrong = piece.bytes == 0 || piece.start < end ||
                         piece.start + piece.bytes < piece.start ||
                         piece.remote_address + piece.bytes < piece.remote_address;
      if (!wrong) end = piece.start + piece.bytes;
      return wrong;
    });
  }

  /// Where the first of these bytes are, and up to how many of them there; nothing where they are
  /// in no piece.
  [[nodiscard]] std::optional<RemotePart> find(std::uint64_t address,
                                               std::uint64_t bytes) const noexcept {
    auto at = std::upper_bound(
        pieces_.begin(), pieces_.end(), address,
        [](std::uint64_t wanted, const rpc::Piece& piece) { return wanted < piece.start; });
    if (at == pieces_.begin()) return std::nullopt;
    --at;
    const std::uint64_t into = address - at->start;
    if (into >= at->bytes) return std::nullopt;
    return RemotePart{
        {at->remote_address + into, std::min(bytes, at->bytes - into), at->remote_key}, at->door};
  }
  /// Whether all of these bytes are in pieces, and how many pieces that takes; 0: they are not.
  [[nodiscard]] std::size_t count(std::uint64_t address, std::uint64_t bytes) const noexcept {
    std::size_t pieces = 0;
    while (bytes > 0) {
      const auto found = find(address, bytes);
      if (!found) return 0;
      address += found->bytes;
      bytes -= found->bytes;
      ++pieces;
    }
    return pieces;
  }
  /// Through which dynamic connections read a part; null: it was told of none.
  [[nodiscard]] const rpc::Door* door(const RemotePart& part) const noexcept {
    return part.door < doors_.size() ? &doors_[part.door] : nullptr;
  }
  /// Asking again would tell no more.
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }

 private:
  std::vector<rpc::Piece> pieces_;  ///< ascending, apart
  std::vector<rpc::Door> doors_;
  bool complete_ = false;
};

}  // namespace mitosis::verbs
