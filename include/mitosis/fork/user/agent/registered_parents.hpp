// SPDX-License-Identifier: MIT
// RegisteredParents: makes prepared parents readable by RDMA, after they have gone on. World: user.
// Registered memory is pinned, and pinning copies what a shadow shares with its parent (the kernel
// unshares copy-on-write pages before a device may know them). So the agent copies, piece by piece,
// into memory of its own, which costs the same memory and touches no other process. A parent that
// was copied at prepare has such memory already.
#pragma once

#include <sys/mman.h>
#include <sys/prctl.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/served_memory.hpp>
#include <mitosis/fork/user/agent/target_observer.hpp>
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
  /// use; called by the thread. All must outlive it.
  RegisteredParents(const verbs::Nic& nic, verbs::Doors* doors, TargetTable& targets,
                    std::function<std::uint64_t()> budget_left)
      : nic_(nic),
        doors_(doors),
        targets_(targets),
        budget_left_(std::move(budget_left)),
        thread_([this] {
          ::prctl(PR_SET_NAME, "mitosis-regist");
          run();
        }) {}
  ~RegisteredParents() override { stop(); }
  /// Ends all access, and the thread. Idempotent; one thread calls it.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const auto& [number, served] : all_) served->pool.revoke();
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
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
  /// Memory of its own: not the images of copied parents.
  [[nodiscard]] std::uint64_t bytes_used() const noexcept { return bytes_used_.load(); }

 private:
  struct Served {
    Served(const TargetName& name, PageRanges ranges, verbs::Doors* doors,
           std::vector<PageRange> areas, std::atomic<std::uint64_t>& used)
        : all_bytes(used), pool(name, std::move(ranges), doors, std::move(areas)) {}
    ~Served() {
      pool.revoke();
      all_bytes.fetch_sub(bytes);
    }
    std::atomic<std::uint64_t>& all_bytes;
    std::uint64_t bytes = 0;            ///< of `memory` that is counted there
    std::vector<SharedMapping> memory;  ///< the thread's alone; ends after what is registered
    UniqueFd image;                     ///< Cow<Off>: holds the pages already
    HandlerId handler{};
    verbs::RegisteredPool pool;
  };
  void run();
  Result<void> register_all(Served& served);
  Result<void> copy(Served& served, std::uint64_t offset, MutableBytes into);

  const verbs::Nic& nic_;
  verbs::Doors* const doors_;
  TargetTable& targets_;
  const std::function<std::uint64_t()> budget_left_;
  std::atomic<std::uint64_t> bytes_used_{0};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Served>> all_;
  std::deque<std::shared_ptr<Served>> waiting_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
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
  }
  {
    const std::lock_guard lock(mutex_);
    all_[parent.target.number] = served;
    waiting_.push_back(std::move(served));
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
  served->pool.revoke();
}

inline void RegisteredParents::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<Served> served = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    const auto done = register_all(*served);
    served->pool.finish();
    if (!done && done.code() != Errc::revoked) {
      spdlog::warn("handler {} is read over TCP, in part or as a whole: {}",
                   static_cast<std::uint64_t>(served->handler), describe(done.error()));
    }
    if (done) {
      spdlog::info("handler {} is registered: {} pages",
                   static_cast<std::uint64_t>(served->handler), served->pool.ranges().pages());
    }
    lock.lock();
  }
}

inline Result<void> RegisteredParents::register_all(Served& served) {
  const std::uint64_t total = served.pool.ranges().pages() << page_shift;
  if (auto r = served.pool.open_doors(); !r && r.code() != Errc::revoked) {
    spdlog::warn("handler {} is read over TCP by policies with DCT: {}",
                 static_cast<std::uint64_t>(served.handler), describe(r.error()));
  }
  SharedMapping image;
  if (served.image) {
    // Writable, though nobody writes: before Linux 6.3 the kernel pins no others.
    auto mapped = SharedMapping::of(served.image.get(), total, PROT_READ | PROT_WRITE);
    if (!mapped) return mapped.error().in("register a copy");
    served.memory.push_back(std::move(mapped).value());
  }
  std::uint64_t size = first_piece;
  for (std::uint64_t offset = 0; offset < total; offset += size) {
    if (offset > 0 && size < last_piece) size *= 2;
    const std::uint64_t bytes = total - offset < size ? total - offset : size;
    MutableBytes memory;
    if (served.image) {
      memory = MutableBytes(served.memory.front().data() + offset, bytes);
    } else {
      if (bytes > budget_left_()) {
        return Error(Errc::budget_exceeded, "its registered copy").in("register memory");
      }
      auto made = SharedMapping::anonymous(bytes);
      if (!made) return made.error().in("register memory");
      memory = MutableBytes(made->data(), bytes);
      if (auto r = copy(served, offset, memory); !r) return r;
      served.memory.push_back(std::move(made).value());
      bytes_used_.fetch_add(bytes);
      served.bytes += bytes;
    }
    if (auto r = served.pool.add(nic_, offset, memory); !r) return r;
  }
  return {};
}

/// Through the target, which knows all sources of its pages and ends reads when it is destroyed.
inline Result<void> RegisteredParents::copy(Served& served, std::uint64_t offset,
                                            MutableBytes into) {
  Result<void> done;
  verbs::for_each_part(served.pool.ranges(), offset, into.size(),
                       [&](std::uint64_t address, std::uint64_t bytes, std::uint64_t at) {
                         const Errc e =
                             targets_.read(served.pool.name(), address, into.sub(at, bytes));
                         if (e != Errc::ok) done = Error(e).at_address(address).in("copy a page");
                         return e == Errc::ok;
                       });
  return done;
}

}  // namespace mitosis::agent
