// SPDX-License-Identifier: MIT
// Which arguments make a policy: one concept a rule, one sentence each. World: any (freestanding).
// `Policy` asserts the same rules in its body; these can be asked without a compile error.
#pragma once

#include <mitosis/policy/axes.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace mitosis {

template <class... Args>
struct Policy;

namespace detail {

template <template <class> class Axis, class Arg>
inline constexpr bool is_axis = false;
template <template <class> class Axis, class Value>
inline constexpr bool is_axis<Axis, Axis<Value>> = true;

/// How many of the arguments are on the axis.
template <template <class> class Axis, class... Args>
inline constexpr std::size_t given = (std::size_t{0} + ... + std::size_t{is_axis<Axis, Args>});

/// The first argument's value on the axis, Default where none is given.
template <template <class> class Axis, class Default, class... Args>
struct Pick {
  using type = Default;
};
template <template <class> class Axis, class Default, class First, class... Rest>
struct Pick<Axis, Default, First, Rest...> : Pick<Axis, Default, Rest...> {};
template <template <class> class Axis, class Default, class Value, class... Rest>
struct Pick<Axis, Default, Axis<Value>, Rest...> {
  using type = Value;
};

/// Pages that a fetch asks for beyond the faulting one; 0 unless it is a Prefetch.
template <class F>
inline constexpr unsigned prefetch_pages = 0;
template <unsigned N>
inline constexpr unsigned prefetch_pages<Prefetch<N>> = N;

template <class... Args>
using TransportOf = typename Pick<Transport, RC, Args...>::type;
template <class... Args>
using FetchOf = typename Pick<Fetch, Prefetch<8>, Args...>::type;
template <class... Args>
using CacheOf = typename Pick<Cache, None, Args...>::type;
template <class... Args>
using CowOf = typename Pick<Cow, On, Args...>::type;
template <class... Args>
using ProfileOf = typename Pick<Profile, Off, Args...>::type;

}  // namespace detail

/// An argument of Policy: a value wrapped in the axis it belongs to.
template <class Arg>
concept AxisArgument = detail::given<Transport, Arg>
+ detail::given<Fetch, Arg> +
        detail::given<Cache, Arg> + detail::given<Cow, Arg> + detail::given<Profile, Arg> ==
    1;
static_assert(AxisArgument<Transport<DCT>> && !AxisArgument<DCT>);

/// No axis is named twice.
template <class... Args>
concept NamesEachAxisOnce = detail::given<Transport, Args...>
<= 1 && detail::given<Fetch, Args...> <= 1 && detail::given<Cache, Args...> <= 1 &&
    detail::given<Cow, Args...> <= 1 && detail::given<Profile, Args...> <= 1;
static_assert(!NamesEachAxisOnce<Cow<On>, Cow<Off>>);

/// A prefetch brings at least one page beyond the faulting one.
template <class F>
concept FetchesAhead = FetchValue<F> && !std::same_as<F, Prefetch<0>>;
static_assert(FetchesAhead<OnDemand> && !FetchesAhead<Prefetch<0>>);

/// The faulting page and its prefetch go out with one doorbell, so they fit one send queue.
template <class T, class F>
concept FitsOneDoorbell =
    TransportValue<T> && FetchValue<F> && detail::prefetch_pages<F> < T::send_queue;
static_assert(FitsOneDoorbell<DCT, Prefetch<127>> && !FitsOneDoorbell<DCT, Prefetch<128>>);

namespace detail {
template <class P>
inline constexpr bool is_legal = false;
template <class... Args>
inline constexpr bool is_legal<Policy<Args...>> =
    (AxisArgument<Args> && ...) &&
    NamesEachAxisOnce<Args...>&& FetchesAhead<FetchOf<Args...>>&& FitsOneDoorbell<
        TransportOf<Args...>, FetchOf<Args...>>;
}  // namespace detail

/// A Policy<...> whose arguments obey all the rules above; asking never instantiates it.
template <class P>
concept LegalPolicy = detail::is_legal<P>;
static_assert(!LegalPolicy<int> && !LegalPolicy<Policy<DCT>>);

}  // namespace mitosis
