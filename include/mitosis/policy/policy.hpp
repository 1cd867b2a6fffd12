// SPDX-License-Identifier: MIT
// Policy<...>: one combination of the axes, in any order. World: any (freestanding).
// An illegal combination fails to compile with one sentence that says what to change.
#pragma once

#include <mitosis/policy/axes.hpp>
#include <mitosis/policy/legality.hpp>

#include <concepts>

namespace mitosis {

/// What the engine, the pools and the snapshots are templates over. Never instantiated as an
/// object. Arguments come in any order; an axis that is left out has its default:
///   Transport<RC>  Fetch<Prefetch<8>>  Cache<None>  Cow<On>  Profile<Off>
template <class... Args>
struct Policy {
  static_assert((AxisArgument<Args> && ...),
                "wrap every argument of Policy in its axis: Transport<DCT>, Fetch<Eager>, "
                "Cache<Local>, Cow<On>, Profile<Off>");
  static_assert(NamesEachAxisOnce<Args...>, "give each axis of Policy at most once");

  using transport = detail::TransportOf<Args...>;  ///< DCT or RC
  using fetch = detail::FetchOf<Args...>;          ///< OnDemand, Prefetch<N> or Eager
  using cache = detail::CacheOf<Args...>;          ///< None or Local
  using cow = detail::CowOf<Args...>;              ///< On or Off
  using profile = detail::ProfileOf<Args...>;      ///< On or Off

  static_assert(FetchesAhead<fetch>,
                "use Fetch<OnDemand> for no prefetch: Prefetch<N> brings at least one page");
  static_assert(FitsOneDoorbell<transport, fetch>,
                "lower Prefetch<N> or change the Transport: a fault and its prefetch go out with "
                "one doorbell, so N must be below the transport's send queue (DCT 128, RC 1024)");

  static constexpr bool dct = std::same_as<transport, DCT>;
  static constexpr bool eager = std::same_as<fetch, Eager>;
  /// Pages that a fault asks for beyond its own; 0 with OnDemand and Eager.
  static constexpr unsigned prefetch = detail::prefetch_pages<fetch>;
  static constexpr bool cached = std::same_as<cache, Local>;
  static constexpr bool copy_on_write = std::same_as<cow, On>;
  static constexpr bool profiled = std::same_as<profile, On>;
};

/// The spelling of a combination with every axis named, in the order of its run-time name: one
/// type a combination, so that equal policies share their instantiations.
template <TransportValue T, FetchValue F, CacheValue C, SwitchValue X, SwitchValue Y>
using PolicyOf = Policy<Transport<T>, Fetch<F>, Cache<C>, Cow<X>, Profile<Y>>;

/// The canonical spelling of a policy that was written in another order or with defaults left out.
template <LegalPolicy P>
using Canonical = PolicyOf<typename P::transport, typename P::fetch, typename P::cache,
                           typename P::cow, typename P::profile>;

}  // namespace mitosis
