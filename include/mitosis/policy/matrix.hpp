// SPDX-License-Identifier: MIT
// FullMatrix: every legal combination of the axes, as a PolicyList. World: user (Boost.Hana).
// Built as the product of all values, filtered by legality; its size is asserted, so that a value
// added to an axis, or a rule that grows too strict, is noticed here.
#pragma once

#include <boost/hana/cartesian_product.hpp>
#include <boost/hana/filter.hpp>
#include <boost/hana/integral_constant.hpp>
#include <boost/hana/transform.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
#include <boost/hana/unpack.hpp>

#include <mitosis/policy/list.hpp>

#include <utility>

namespace mitosis {

namespace detail {

/// The product of the axes: a tuple of hana::type<Policy<...>>, the illegal ones left out.
constexpr auto legal_product() {
  namespace hana = boost::hana;
  constexpr auto axes =
      hana::make_tuple(hana::tuple_t<DCT, RC>,
                       hana::tuple_t<OnDemand, Prefetch<1>, Prefetch<8>, Prefetch<32>, Prefetch<64>,
                                     Prefetch<512>, Eager>,
                       hana::tuple_t<None, Local>, hana::tuple_t<On, Off>, hana::tuple_t<Off, On>);
  constexpr auto to_policy = [](auto values) {
    return hana::unpack(values, hana::template_<PolicyOf>);
  };
  constexpr auto is_legal = [](auto policy) {
    return hana::bool_c<LegalPolicy<typename decltype(policy)::type>>;
  };
  return hana::filter(hana::transform(hana::cartesian_product(axes), to_policy), is_legal);
}

constexpr auto to_list = [](auto... policies) -> PolicyList<typename decltype(policies)::type...> {
  return {};
};

}  // namespace detail

/// Every combination that the agent and the tools have compiled in.
using FullMatrix = decltype(boost::hana::unpack(detail::legal_product(), detail::to_list));

// 2 transports x 7 fetches x 2 caches x 2 cows x 2 profiles, less DCT's 8 with Prefetch<512>.
static_assert(FullMatrix::size == 2 * 7 * 2 * 2 * 2 - 8);

/// Calls `visit(std::type_identity<P>)` for every policy of the full matrix.
template <class Visit>
constexpr void for_each_policy(Visit&& visit) {
  FullMatrix::for_each(std::forward<Visit>(visit));
}

/// Calls `visit(std::type_identity<P>)` for the policy of that name; policy_not_compiled where the
/// matrix lacks it. With a list of one's own: `MyList::dispatch(name, visit)`.
template <class Visit>
[[nodiscard]] auto with_policy(PolicyName name, Visit&& visit) {
  return FullMatrix::dispatch(name, std::forward<Visit>(visit));
}

}  // namespace mitosis
