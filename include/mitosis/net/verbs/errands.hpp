// SPDX-License-Identifier: MIT
// Errands: calls that block, made for a thread that must not. World: user.
// A fabric's thread asks for a connection or a target's pieces, goes on, and hears of the answer.
#pragma once

#include <sys/eventfd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// `run`, `finish` and the destructor are the owner's thread's. An errand runs on one of a few
/// threads and returns what the owner's thread is to do with its answer; that runs in `finish`.
class Errands {
 public:
  using Answer = std::function<void()>;
  using Errand = std::function<Answer()>;
  /// At most so many at a time, so that machines that do not answer do not hold the others up.
  static constexpr std::size_t max_threads = 8;

  Errands() : ready_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;
  /// Waits for those that run, so each must have a deadline; drops those that wait, and answers.
  ~Errands() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// False where not even one thread can be started: the errand will not be run.
  [[nodiscard]] bool run(Errand errand) {
    const std::lock_guard lock(mutex_);
    if (idle_ <= waiting_.size() && threads_.size() < max_threads) {
      try {
        threads_.emplace_back([this] { work(); });
      } catch (const std::system_error&) {
        if (threads_.empty()) return false;
      }
    }
    waiting_.push_back(std::move(errand));
    changed_.notify_one();
    return true;
  }
  /// Readable when `finish` has something to do.
  [[nodiscard]] int wait_fd() const noexcept { return ready_.get(); }
  /// Whether `finish` has something to do; cheap.
  [[nodiscard]] bool ready() const noexcept { return any_.load(std::memory_order_acquire); }
  /// Does what the answers say.
  void finish() {
    if (!ready()) return;
    std::vector<Answer> answers;
    {
      // Under the lock, as in `work`: the flag, the event and the answers change together.
      const std::lock_guard lock(mutex_);
      std::uint64_t count = 0;
      (void)!::read(ready_.get(), &count, sizeof count);
      any_.store(false, std::memory_order_release);
      answers.swap(answers_);
    }
    for (const Answer& answer : answers) answer();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      --idle_;
      if (stopping_) return;
      const Errand errand = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      Answer answer = errand();
      lock.lock();
      answers_.push_back(std::move(answer));
      // The flag first: whoever the event wakes looks at it.
      any_.store(true, std::memory_order_release);
      const std::uint64_t one = 1;
      (void)!::write(ready_.get(), &one, sizeof one);
    }
  }

  UniqueFd ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Errand> waiting_;
  std::vector<Answer> answers_;
  std::atomic<bool> any_{false};
  std::size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace mitosis::verbs
