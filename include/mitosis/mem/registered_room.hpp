// SPDX-License-Identifier: MIT
// RegisteredRoom: the ImageRoom of a machine with an RDMA device: what is next in its file has been
// registered before anybody needs it, so that an image can be read as soon as it is written.
// World: user. What registers is a parameter: this decides how much is kept ready.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mitosis/base/span.hpp>
#include <mitosis/mem/image_room.hpp>
#include <mitosis/mem/shared_mapping.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis {

/// Places in the file are used once, so that what was given back is never anybody else's: its
/// memory goes to the system, its region with it. `Region` is what registering makes; it ends
/// before its memory.
template <class Region>
class RegisteredRoom final : public ImageRoom {
 public:
  /// What is registered at a time.
  static constexpr std::uint64_t chunk_bytes = std::uint64_t{2} << 20;
  /// Kept ready in any case; more after larger images.
  static constexpr std::uint64_t first_bytes = std::uint64_t{16} << 20;
  /// Images of longer ago do not count, and what has failed is not tried before.
  static constexpr std::uint64_t memory_ns = 60'000'000'000;

  struct Chunk {
    SharedMapping memory;
    Region region;
  };
  using Register = std::function<Result<Region>(MutableBytes)>;

  /// `file` (a memfd, borrowed) is this room's alone, or was an earlier process's. At most `most`
  /// bytes are kept ready.
  RegisteredRoom(int file, std::uint64_t most, Register make)
      : file_(file), most_(most), make_(std::move(make)) {}

  // ---- ImageRoom ----
  Result<std::shared_ptr<const ImageExtent>> take(std::uint64_t bytes) override;
  std::shared_ptr<const ImageExtent> adopt(std::uint64_t offset, std::uint64_t bytes) override {
    const std::uint64_t size = whole_chunks(bytes);
    const std::lock_guard lock(mutex_);
    extents_[offset] = size;
    front_ = std::max(front_, offset + size);
    return extent(offset, size);
  }

  /// All that lives has been adopted: the rest of what the file holds is freed.
  void begin();
  /// Makes one more chunk ready or gives one back, as images of late and the budget (what is left
  /// without this) say. False: there is nothing to do for now. One thread, after `begin`.
  bool step(std::uint64_t budget_left, std::uint64_t now_ns);
  /// What is registered of an extent, from its first byte on; once.
  [[nodiscard]] std::vector<Chunk> claim(std::uint64_t offset) {
    const std::lock_guard lock(mutex_);
    const auto at = ready_.find(offset);
    return at == ready_.end() ? std::vector<Chunk>() : std::exchange(at->second, {});
  }
  [[nodiscard]] std::uint64_t bytes_ready() const {
    const std::lock_guard lock(mutex_);
    return ahead_.size() * chunk_bytes;
  }

 private:
  static std::uint64_t whole_chunks(std::uint64_t bytes) noexcept {
    return (bytes + chunk_bytes - 1) / chunk_bytes * chunk_bytes;
  }
  std::shared_ptr<const ImageExtent> extent(std::uint64_t offset, std::uint64_t bytes) {
    return std::make_shared<const ImageExtent>(file_, offset, bytes,
                                               [this, offset] { give_back(offset); });
  }
  void give_back(std::uint64_t offset);
  Result<Chunk> make_chunk(std::uint64_t offset);
  void free(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (bytes == 0) return;
    (void)::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                      static_cast<off_t>(bytes));
  }

  const int file_;
  const std::uint64_t most_;
  const Register make_;
  mutable std::mutex mutex_;
  std::uint64_t front_ = 0;                            ///< the place that is used next
  std::deque<Chunk> ahead_;                            ///< from there on
  std::map<std::uint64_t, std::uint64_t> extents_;     ///< of images: where, how long
  std::map<std::uint64_t, std::vector<Chunk>> ready_;  ///< of theirs what is not claimed yet
  std::uint64_t largest_ = 0;                          ///< image of late
  bool taken_ = false;                                 ///< since the last step
  std::uint64_t last_taken_ns_ = 0, failed_until_ns_ = 0;
};

template <class Region>
Result<std::shared_ptr<const ImageExtent>> RegisteredRoom<Region>::take(std::uint64_t bytes) {
  const std::uint64_t size = whole_chunks(bytes);
  std::shared_ptr<const ImageExtent> taken;
  std::uint64_t ready = 0;
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t offset = std::exchange(front_, front_ + size);
    std::vector<Chunk>& chunks = ready_[offset];
    for (; ready < size && !ahead_.empty(); ready += chunk_bytes) {
      chunks.push_back(std::move(ahead_.front()));
      ahead_.pop_front();
    }
    extents_[offset] = size;
    largest_ = std::max(largest_, size);
    taken_ = true;
    taken = extent(offset, size);
  }
  // Asked for in advance: a full tmpfs would kill the copying thread with SIGBUS.
  if (ready < bytes && ::fallocate(file_, 0, static_cast<off_t>(taken->offset + ready),
                                   static_cast<off_t>(bytes - ready)) != 0) {
    return Error(Errc::out_of_memory, "the image of a parent", errno).in("copy the pages");
  }
  return taken;
}

template <class Region>
void RegisteredRoom<Region>::give_back(std::uint64_t offset) {
  std::uint64_t bytes = 0;
  std::vector<Chunk> unclaimed;  // ends without the lock
  {
    const std::lock_guard lock(mutex_);
    bytes = extents_[offset];
    extents_.erase(offset);
    unclaimed = std::exchange(ready_[offset], {});
    ready_.erase(offset);
  }
  unclaimed.clear();
  free(offset, bytes);
}

template <class Region>
void RegisteredRoom<Region>::begin() {
  const std::lock_guard lock(mutex_);
  std::uint64_t end = 0;
  for (const auto& [offset, bytes] : extents_) {
    free(end, offset - end);
    end = offset + bytes;
  }
  (void)!::ftruncate(file_, static_cast<off_t>(front_));
}

template <class Region>
bool RegisteredRoom<Region>::step(std::uint64_t budget_left, std::uint64_t now_ns) {
  std::uint64_t at = 0;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(taken_, false)) last_taken_ns_ = now_ns;
    if (now_ns - last_taken_ns_ >= memory_ns) largest_ = 0;
    const std::uint64_t ready = ahead_.size() * chunk_bytes;
    const std::uint64_t wanted =
        std::min({std::max(largest_, first_bytes), most_, budget_left}) / chunk_bytes * chunk_bytes;
    at = front_ + ready;
    if (ready > wanted) {
      ahead_.pop_back();
      free(at - chunk_bytes, chunk_bytes);
      return true;
    }
    if (ready == wanted || now_ns < failed_until_ns_) return false;
  }
  Result<Chunk> made = make_chunk(at);
  const std::lock_guard lock(mutex_);
  if (made.ok() && at == front_ + ahead_.size() * chunk_bytes) {
    ahead_.push_back(std::move(made).value());
    return true;
  }
  if (!made.ok()) failed_until_ns_ = now_ns + memory_ns;
  // Somebody may have taken the place meanwhile.
  const auto after = extents_.upper_bound(at);
  const bool taken =
      after != extents_.begin() && at < std::prev(after)->first + std::prev(after)->second;
  if (!taken) free(at, chunk_bytes);
  return made.ok();
}

template <class Region>
auto RegisteredRoom<Region>::make_chunk(std::uint64_t offset) -> Result<Chunk> {
  if (::fallocate(file_, 0, static_cast<off_t>(offset), static_cast<off_t>(chunk_bytes)) != 0) {
    return Error(Errc::out_of_memory, "room for images", errno);
  }
  // Writable, though nobody writes there: before Linux 6.3 the kernel pins no others.
  auto memory = SharedMapping::of(file_, chunk_bytes, PROT_READ | PROT_WRITE, offset);
  if (!memory.ok()) return memory.error();
  Result<Region> region = make_(MutableBytes(memory->data(), chunk_bytes));
  if (!region.ok()) return region.error();
  return Chunk{std::move(memory).value(), std::move(region).value()};
}

}  // namespace mitosis
