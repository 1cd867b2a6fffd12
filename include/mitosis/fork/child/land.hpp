// SPDX-License-Identifier: MIT
// Child: from the end of a read to pages in place. World: any (freestanding). Part of child.hpp.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis {

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_completion(std::uint64_t cookie, Errc status) noexcept {
  const Cookie c = Cookie::unpack(cookie);
  if (c.op >= max_ops || !engine_.ops().taken(c.op)) return;
  Flight& flight = flights_[c.op];
  const bool out = flight.phase == Phase::reading || flight.phase == Phase::asking ||
                   flight.phase == Phase::expired;
  if (!out || flight.sequence != c.sequence) return;  // of an earlier attempt
  if (status == Errc::ok) stats_.bytes += flight.read.pages.bytes();
  if constexpr (P::profiled) {
    const auto step = flight.phase == Phase::asking ? ProfileStep::fallback : ProfileStep::read;
    profile_.record(step, flight.posted, platform_.now());
  }
  if (closed_ || flight.phase == Phase::expired) {
    flight.phase = Phase::landed;
    // Its bytes are good, for the cache at least.
    if (flight.filling && status == Errc::ok) return land(c.op);
    return release(c.op);
  }
  switch (engine_.on_read(c.op, status)) {
    case Verdict::install:
      flight.phase = Phase::landed;
      land(c.op);
      break;
    case Verdict::fallback:
      ask_owner(c.op);
      break;
    case Verdict::retry:
      ask_again(c.op, status);
      break;
    case Verdict::fail:
      give_up(c.op, status);
      break;
    case Verdict::drop:
      release(c.op);
      break;
  }
  retry_busy();
  pump_eager();
  pump_foreseen();
}

/// Installs what the child still wants of a read's pages, piece by piece; what was removed,
/// unmapped or moved since is left out by the engine.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::land(OpId id) noexcept {
  Flight& flight = flights_[id];
  const PageRange pages = flight.read.pages;
  const PageRange keys{flight.read.key, pages.count};
  [[maybe_unused]] const Time began = profile_.enabled ? platform_.now() : Time{};
  const bool was_filling = flight.filling;
  if (was_filling) {
    flight.filling = false;
    platform_.cache().end_fill(keys, true);
  }

  Landing landing = closed_ ? Landing::gone : Landing::done;
  PageNumber from = pages.first;
  while (landing == Landing::done) {
    const auto piece = engine_.next_install(id, from);
    if (!piece) break;
    const std::uint64_t into = piece->first - pages.first;
    const std::uint8_t* bytes =
        flight.read.fill ? nullptr : flight.read.into.data + (into << page_shift);
    const std::uint64_t before = stats_.fetched;
    landing = install(*piece, bytes, keys.first + into, stats_.fetched);
    flight.installed += stats_.fetched - before;
    from = piece->end();
  }
  if constexpr (P::profiled) {
    const Time now = platform_.now();
    profile_.record(ProfileStep::install, began, now);
    if (flight.read.lane == Lane::demand) profile_.record(ProfileStep::fault, flight.started, now);
  }

  if (landing == Landing::changing) {
    flight.phase = Phase::changing;
    retry_soon();
  } else if (landing == Landing::failed && engine_.op(id).kind == OpKind::demand) {
    give_up(id, Errc::out_of_memory);
  } else {
    stats_.dropped += pages.count - flight.installed;
    release(id);
  }
  if (was_filling) platform_.waiters().filled(keys);
}

/// Copies `bytes` in, or, without bytes, maps the cache's pages from `key` on. The rules of memory
/// that changes meanwhile: what exists is as good; a range that crosses the end of a mapping is
/// halved down to single pages; where nothing is mapped, nothing is missing.
template <LegalPolicy P, Platform Pf>
auto Child<P, Pf>::install(PageRange range, const std::uint8_t* bytes, PageNumber key,
                           std::uint64_t& counter) noexcept -> Landing {
  auto& memory = platform_.memory();
  std::uint64_t at_once = range.count;
  const auto skip = [&](std::uint64_t pages) {
    range = {range.first + pages, range.count - pages};
    if (bytes != nullptr) bytes += pages << page_shift;
    key = key + pages;
  };
  const auto in_place = [&](std::uint64_t pages, bool its_bytes) {
    waiting_.forget({range.first, pages});
    if (bytes != nullptr && its_bytes) {
      engine_.on_installed({range.first, pages});
    } else {
      engine_.on_mapped({range.first, pages}, key);
    }
    skip(pages);
  };

  while (!range.empty()) {
    const PageRange part{range.first, at_once < range.count ? at_once : range.count};
    InstallResult result =
        bytes != nullptr ? memory.copy_in(part, bytes) : memory.map_cached(part, key);
    if (result.status == Install::done) result.pages = part.count;
    counter += result.pages;
    if (result.pages > 0) in_place(result.pages, true);
    switch (result.status) {
      case Install::done:
        at_once *= 2;
        break;
      case Install::exists:
        if (result.pages < part.count) {
          // The child's own page, or one that was told to fail: then it is still an ancestor's.
          memory.wake({range.first, 1});
          in_place(1, false);
        }
        break;
      case Install::again:
        if (result.pages == 0) return Landing::changing;
        break;
      case Install::split:
      case Install::unmapped:
        if (part.count > 1) {
          at_once = part.count / 2;
        } else {
          engine_.on_unmapped(part);
          memory.wake(part);
          skip(1);
        }
        break;
      case Install::gone:
        close();
        return Landing::gone;
      case Install::failed:
        return Landing::failed;
    }
  }
  return Landing::done;
}

/// The one-sided read has failed: the owner's CPU may still have the page.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::ask_owner(OpId id) noexcept {
  Flight& flight = flights_[id];
  flight.posted = platform_.now();
  if (flight.posted >= flight.deadline) return give_up(id, Errc::timed_out);
  flight.phase = Phase::asking;
  ++stats_.fallbacks;
  platform_.fallback().read(request_for(id, flight.deadline));
}

/// Neither way has worked, but neither was refused: the owner may be restarting.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::ask_again(OpId id, Errc status) noexcept {
  Flight& flight = flights_[id];
  const Time next = platform_.now() + deadlines_.pause;
  if (next >= flight.deadline) return give_up(id, status);
  flight.phase = Phase::pausing;
  flight.next = next;
}

/// The page of a demand read cannot be had.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::give_up(OpId id, Errc why) noexcept {
  const PageNumber page = flights_[id].read.pages.first;
  flights_[id].phase = Phase::landed;
  if (P::eager && eager_error_ == Errc::ok) eager_error_ = why;
  release(id, false);  // not woken: `fail` does that, with the error in place
  fail(page, why);
}

/// Ends a read whose memory nobody writes any more.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::release(OpId id, bool wake) noexcept {
  Flight& flight = flights_[id];
  const PageRange pages = flight.read.pages;
  const PageRange keys{flight.read.key, pages.count};
  const bool left = engine_.finish(id) || engine_.broken() != Errc::ok;
  if (flight.holds_landing) platform_.release_landing(flight.read.into, pages.count);
  flight.holds_landing = false;
  const bool was_filling = flight.filling;
  flight.filling = false;
  if (was_filling) platform_.cache().end_fill(keys, false);
  if (left && wake && !closed_) ask_for_waiting(pages);
  if (was_filling) platform_.waiters().filled(keys);
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::fail(PageNumber page, Errc why) noexcept {
  ++stats_.failed;
  engine_.on_failed(page);
  if (!closed_) platform_.memory().fail(page, why);
}

template <LegalPolicy P, Platform Pf>
ReadRequest Child<P, Pf>::request_for(OpId id, Time deadline) noexcept {
  Flight& flight = flights_[id];
  const Owner owner = platform_.owner(flight.read.owner);
  flight.sequence = sequence_++ & Cookie::sequence_mask;
  ReadRequest request;
  request.peer = owner.machine;
  request.target = owner.target;
  request.remote_address = address(flight.read.source);
  request.bytes = static_cast<std::uint32_t>(flight.read.pages.bytes());
  request.lane = flight.read.lane;
  request.into = flight.read.into;
  request.cookie = Cookie{slot_, flight.sequence, id}.pack();
  request.deadline = deadline;
  return request;
}

}  // namespace mitosis
