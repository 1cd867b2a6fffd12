// SPDX-License-Identifier: MIT
// RegisteredParents: how parents are registered, one piece after the other. World: user. Included
// by registered_parents.hpp only.
#pragma once

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/registered_parents.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace mitosis::agent {

inline void RegisteredParents::run() {
  std::unique_lock lock(mutex_);
  constexpr std::chrono::seconds look{1};  // whether the budget or the time want room given back
  bool more = false;
  while (true) {
    const auto work = [this] { return stopping_ || !waiting_.empty(); };
    if (!more) changed_.wait_for(lock, look, work);
    if (stopping_) return;
    std::shared_ptr<Served> served;
    if (!waiting_.empty()) {
      served = std::move(waiting_.front());
      waiting_.pop_front();
    }
    const bool keep_room = adopted_ && image_room() != nullptr;
    lock.unlock();
    if (served) register_next(served);
    served.reset();
    more = keep_room && step_room();
    lock.lock();
  }
}

inline void RegisteredParents::revoke(Served& served) {
  if (const auto done = served.pool.revoke(); !done) {
    spdlog::error("handler {}: peers may still be able to read some of it: {}",
                  static_cast<std::uint64_t>(served.handler), describe(done.error()));
  }
}

/// Whether there is more to do at once.
inline bool RegisteredParents::step_room() {
  if (room_.step(budget_left_(), static_cast<std::uint64_t>(tcp::monotonic_now()))) return true;
  const std::uint64_t ready = room_.bytes_ready();
  if (std::exchange(room_told_, ready) != ready) {
    spdlog::info("{} MiB are registered for copies of parents to come", ready >> 20);
  }
  return false;
}

inline void RegisteredParents::register_next(const std::shared_ptr<Served>& served) {
  if (const auto done = register_all(*served); done) {
    finish(*served);
  } else {
    served->pool.finish();
    if (done.code() == Errc::revoked) return;
    spdlog::warn("handler {} is read over TCP, in part or as a whole: {}",
                 static_cast<std::uint64_t>(served->handler), describe(done.error()));
  }
}

inline void RegisteredParents::finish(Served& served) {
  served.pool.finish();
  served.image.reset();
  spdlog::info("handler {} is registered: {} pages, {} of them beforehand",
               static_cast<std::uint64_t>(served.handler), served.pool.ranges().pages(),
               std::min(served.beforehand >> page_shift, served.pool.ranges().pages()));
}

/// Gives the peers what was registered before the image was written.
inline void RegisteredParents::add_chunks(Served& served) {
  for (Room::Chunk& chunk : served.chunks) {
    if (!served.pool.add(std::move(chunk.region), served.registered)) break;  // it has ended
    served.memory.push_back(std::move(chunk.memory));
    served.registered += Room::chunk_bytes;
  }
  served.beforehand = served.registered;
  served.chunks.clear();
}

inline Result<void> RegisteredParents::register_all(Served& served) {
  const std::uint64_t total = served.pool.ranges().pages() << page_shift;
  if (auto r = served.pool.open_doors(); !r && r.code() != Errc::revoked) {
    spdlog::warn("handler {} is read over TCP by policies with DCT: {}",
                 static_cast<std::uint64_t>(served.handler), describe(r.error()));
  }
  add_chunks(served);
  std::uint8_t* image = nullptr;
  if (served.image) {
    // Writable, though nobody writes: before Linux 6.3 the kernel pins no others.
    auto mapped = SharedMapping::of(served.image.get(), total, PROT_READ | PROT_WRITE,
                                    served.extent ? served.extent->offset : 0);
    if (!mapped) return mapped.error().in("register a copy");
    image = mapped->data();
    served.memory.push_back(std::move(mapped).value());
  }
  std::uint64_t size = first_piece;
  for (std::uint64_t& offset = served.registered; offset < total; offset += size) {
    if (offset > 0 && size < last_piece) size *= 2;
    const std::uint64_t bytes = total - offset < size ? total - offset : size;
    MutableBytes memory;
    if (image != nullptr) {
      memory = MutableBytes(image + offset, bytes);
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
