// SPDX-License-Identifier: MIT
// FallbackReader: reads pages by RPC when one-sided reads cannot have them; models Fallback.
// World: user. RPC blocks, a pager must not: a thread of its own makes the calls, one after the
// other, and hands the completions over.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/fabric.hpp>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// `read` is called by one pager thread, as `take`. `into` must stay valid until the completion.
class FallbackReader {
 public:
  /// Fills request.into or says why not; called on the reader's thread, ends by the deadline.
  using Call = std::function<Errc(const ReadRequest&)>;

  explicit FallbackReader(Call call)
      : call_(std::move(call)),
        ready_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { run(); }) {}
  ~FallbackReader() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  FallbackReader(const FallbackReader&) = delete;
  FallbackReader& operator=(const FallbackReader&) = delete;

  void read(const ReadRequest& request) noexcept {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(request);
    changed_.notify_all();
  }
  /// Readable when `take` has something.
  [[nodiscard]] int wait_fd() const noexcept { return ready_.get(); }
  std::vector<ReadCompletion> take() {
    std::uint64_t count = 0;
    (void)!::read(ready_.get(), &count, sizeof count);
    const std::lock_guard lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      const ReadRequest request = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      const Errc status = call_(request);
      lock.lock();
      done_.push_back({request.cookie, status});
      const std::uint64_t one = 1;
      (void)!::write(ready_.get(), &one, sizeof one);
    }
  }

  Call call_;
  UniqueFd ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ReadRequest> waiting_;
  std::vector<ReadCompletion> done_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace mitosis::agent
