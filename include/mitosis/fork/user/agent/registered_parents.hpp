// SPDX-License-Identifier: MIT
// RegisteredParents: makes prepared parents readable by RDMA, after they have gone on. World: user.
// Registered memory is pinned, and pinning copies what a shadow shares with its parent (the kernel
// unshares copy-on-write pages before a device may know them). So the agent copies, piece by piece,
// into memory of its own, which costs the same memory and touches no other process. A parent that
// is copied at prepare has such memory already; as far as that was registered beforehand, it can be
// read as soon as its prepare ends.
#pragma once

#include <sys/prctl.h>

#include <mitosis/fork/user/agent/served_memory.hpp>
#include <mitosis/fork/user/agent/target_observer.hpp>
#include <mitosis/mem/registered_room.hpp>
#include <mitosis/mem/shared_mapping.hpp>
#include <mitosis/net/verbs/registered_pool.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// One thread of its own copies and registers, one parent after the other. Thread-safe.
class RegisteredParents final : public TargetObserver {
 public:
  /// Pieces double from the first size to the last: a small parent is there soon, a large one has
  /// few regions.
  static constexpr std::uint64_t first_piece = std::uint64_t{1} << 20;
  static constexpr std::uint64_t last_piece = std::uint64_t{16} << 20;

  /// `doors` null: the device has no dynamic connections. `budget_left`: what the agent may still
  /// use of `budget`; called by the thread. `images`: the memfd of copied parents. All must outlive
  /// it.
  RegisteredParents(const verbs::Nic& nic, verbs::Doors* doors, TargetTable& targets,
                    std::uint64_t budget, std::function<std::uint64_t()> budget_left, int images)
      : nic_(nic),
        doors_(doors),
        targets_(targets),
        budget_left_(std::move(budget_left)),
        room_(images, budget / 8,
              [&nic](MutableBytes memory) {
                return verbs::RegisteredPool::make_region(nic, memory, true);
              }),
        thread_([this] {
          ::prctl(PR_SET_NAME, "mitosis-regist");
          run();
        }) {}
  ~RegisteredParents() override { stop(); }
  /// Ends all access, and the thread. Idempotent; one thread calls it.
  void stop() {
    std::vector<std::shared_ptr<Served>> ended;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const auto& [number, served] : all_) ended.push_back(served);
    }
    changed_.notify_all();
    for (const auto& served : ended) revoke(*served);
    if (thread_.joinable()) thread_.join();
  }

  /// What the device reads without pinning it need not be registered beforehand.
  ImageRoom* image_room() noexcept override {
    return doors_ != nullptr || !nic_.on_demand() ? &room_ : nullptr;
  }
  void on_adopted() override {
    if (image_room() != nullptr) room_.begin();  // else what lies in the file is not its own
    {
      const std::lock_guard lock(mutex_);
      adopted_ = true;
    }
    changed_.notify_all();
  }
  void on_open(const Parent& parent) override;
  void on_close(const TargetName& target) override;
  /// What of a target is registered. revoked: there is no such target. One that is not to be
  /// registered has told all.
  Result<rpc::PiecesReply> tell(const TargetName& target) const {
    const std::lock_guard lock(mutex_);
    const auto at = all_.find(target.number);
    if (at == all_.end()) return Error(Errc::revoked).in("query pieces");
    return at->second->pool.tell(target);
  }
  /// Memory of its own: neither the images of copied parents nor the room for more, which is given
  /// back where the budget is needed otherwise.
  [[nodiscard]] std::uint64_t bytes_used() const noexcept { return bytes_used_.load(); }

 private:
  using Room = RegisteredRoom<verbs::MemoryRegion>;
  /// `on_open` fills it in, then it is the thread's, but for `pool`.
  struct Served {
    Served(const TargetName& name, PageRanges ranges, verbs::Doors* doors,
           std::vector<PageRange> areas, std::atomic<std::uint64_t>& used)
        : all_bytes(used), pool(name, std::move(ranges), doors, std::move(areas)) {}
    ~Served() {
      (void)pool.revoke();  // nothing new where it was told already
      all_bytes.fetch_sub(bytes);
    }
    /// Whether all of it has been registered.
    [[nodiscard]] bool ready() const noexcept {
      return registered >= pool.ranges().pages() << page_shift;
    }
    std::atomic<std::uint64_t>& all_bytes;
    std::uint64_t bytes = 0;                    ///< of `memory` that is counted there
    UniqueFd image;                             ///< Cow<Off>: holds the pages already
    std::shared_ptr<const ImageExtent> extent;  ///< in it; null: all of it
    std::vector<Room::Chunk> chunks;            ///< of the extent, registered beforehand
    std::uint64_t beforehand = 0;               ///< bytes that were
    std::uint64_t registered = 0;               ///< bytes, from the first page on
    std::vector<SharedMapping> memory;          ///< ends after what is registered
    HandlerId handler{};
    verbs::RegisteredPool pool;
  };
  static void revoke(Served& served);
  void run();
  bool step_room();
  void register_next(const std::shared_ptr<Served>& served);
  void add_chunks(Served& served);
  void finish(Served& served);
  Result<void> register_all(Served& served);
  Result<void> copy(Served& served, std::uint64_t offset, MutableBytes into);

  const verbs::Nic& nic_;
  verbs::Doors* const doors_;
  TargetTable& targets_;
  const std::function<std::uint64_t()> budget_left_;
  Room room_;
  std::uint64_t room_told_ = 0;  ///< the thread's: how much of it is ready, as it was last told
  std::atomic<std::uint64_t> bytes_used_{0};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Served>> all_;
  std::deque<std::shared_ptr<Served>> waiting_;
  bool stopping_ = false;
  bool adopted_ = false;  ///< the room has begun
  std::thread thread_;    // last: it uses all of the above
};

inline void RegisteredParents::on_open(const Parent& parent) {
  const auto view = DescriptorView::parse(Bytes(*parent.descriptor));
  if (!view) return;
  PageRanges ranges;
  if (parent.copy) {
    ranges = served_ranges(*view, true);  // as the image has them
  } else {
    std::vector<PageRange> own = shared_ranges(*view).ranges();
    for (const descriptor::RunRecord run : view->runs()) {
      if (run.owner == 0) own.push_back({PageNumber{run.source}, run.count});
    }
    ranges = PageRanges(std::move(own));
  }
  std::vector<PageRange> areas;
  for (const descriptor::VmaRecord vma : view->vmas()) {
    areas.push_back({page_of(vma.start), (vma.end - vma.start) >> page_shift});
  }
  auto served = std::make_shared<Served>(parent.target, std::move(ranges), doors_, std::move(areas),
                                         bytes_used_);
  served->handler = parent.handler;
  if (parent.copy && parent.image_fd) {
    served->image = UniqueFd(::fcntl(parent.image_fd.get(), F_DUPFD_CLOEXEC, 0));
    served->extent = parent.extent;
    if (parent.extent) served->chunks = room_.claim(parent.extent->offset);
  }
  // Doors take the device's time: the thread opens them before it tells anything.
  if (doors_ == nullptr) add_chunks(*served);
  const bool ready = doors_ == nullptr && served->ready();
  if (ready) finish(*served);
  {
    const std::lock_guard lock(mutex_);
    all_[parent.target.number] = served;
    if (!ready) waiting_.push_back(std::move(served));
  }
  changed_.notify_all();
}

inline void RegisteredParents::on_close(const TargetName& target) {
  std::shared_ptr<Served> served;
  {
    const std::lock_guard lock(mutex_);
    const auto at = all_.find(target.number);
    if (at == all_.end()) return;
    served = std::move(at->second);
    all_.erase(at);
  }
  revoke(*served);
}

}  // namespace mitosis::agent

#include <mitosis/fork/user/agent/registered_parents_impl.hpp>  // IWYU pragma: export
