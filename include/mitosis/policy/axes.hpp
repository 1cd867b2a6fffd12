// SPDX-License-Identifier: MIT
// The axes of a policy and their values, named as a user says them: Transport<DCT>,
// Fetch<Prefetch<8>>, Cache<Local>, Cow<On>, Profile<Off>. World: any (freestanding).
// All are empty tags: what a value means is written beside it and done by mem, net and fork.
#pragma once

#include <concepts>
#include <type_traits>

namespace mitosis {

/// Connectionless: a small fixed pool of initiators reaches any target. `send_queue` is how many
/// requests one initiator takes with one doorbell; initiators are few and shared by all children
/// of a pager, so their queues are short.
struct DCT {
  static constexpr unsigned send_queue = 128;
};
/// One connection per peer and pager, pooled, shared by the children of that peer.
struct RC {
  static constexpr unsigned send_queue = 1024;
};

/// The faulting page alone.
struct OnDemand {};
/// The faulting page, and with the same doorbell the next N absent pages of its VMA.
template <unsigned N>
struct Prefetch {
  static constexpr unsigned pages = N;
};
/// Every page before the first instruction.
struct Eager {};

/// Each child has its own pages.
struct None {};
/// The machine keeps fetched pages for all children of a parent, shared physically.
struct Local {};

/// Values of the axes that are switches: Cow and Profile.
struct On {};
struct Off {};

namespace detail {
template <class>
inline constexpr bool is_prefetch = false;
template <unsigned N>
inline constexpr bool is_prefetch<Prefetch<N>> = true;
}  // namespace detail

/// A value of the Transport axis: DCT or RC.
template <class T>
concept TransportValue = std::same_as<T, DCT> || std::same_as<T, RC>;
/// A value of the Fetch axis: OnDemand, Prefetch<N> or Eager.
template <class T>
concept FetchValue = std::same_as<T, OnDemand> || std::same_as<T, Eager> || detail::is_prefetch<T>;
/// A value of the Cache axis: None or Local.
template <class T>
concept CacheValue = std::same_as<T, None> || std::same_as<T, Local>;
/// A value of the Cow and Profile axes: On or Off.
template <class T>
concept SwitchValue = std::same_as<T, On> || std::same_as<T, Off>;

static_assert(!TransportValue<Eager> && !FetchValue<DCT> && !CacheValue<Off> && !SwitchValue<int>);

/// How endpoints are connected.
template <TransportValue T>
struct Transport {
  using value = T;
};
/// Which pages a fault brings.
template <FetchValue F>
struct Fetch {
  using value = F;
};
/// Who shares fetched pages.
template <CacheValue C>
struct Cache {
  using value = C;
};
/// On: prepare freezes by copy-on-write, its cost grows with page tables. Off: prepare copies the
/// pages into one registered buffer, and the parent pays nothing later.
template <SwitchValue X>
struct Cow {
  using value = X;
};
/// On: each step of prepare, resume and fault is counted and timed. Off costs nothing.
template <SwitchValue X>
struct Profile {
  using value = X;
};

}  // namespace mitosis
