// SPDX-License-Identifier: MIT
// PolicyList<P...>: compiled combinations, and the way from a run-time name to one of them.
// World: any (freestanding). The full matrix is one; a program that wants few combinations, or
// one of its own, writes its own list.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/refusal.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace mitosis {

namespace detail {
template <class T>
struct AsResult {
  using type = Result<T>;
};
template <class T>
struct AsResult<Result<T>> {
  using type = Result<T>;
};
}  // namespace detail

/// A list of distinct canonical policies. Visitors get `std::type_identity<P>` by value.
template <LegalPolicy First, LegalPolicy... Rest>
struct PolicyList {
  static constexpr std::size_t size = 1 + sizeof...(Rest);
  static constexpr PolicyName names[size] = {name_of<First>, name_of<Rest>...};

  [[nodiscard]] static constexpr bool contains(PolicyName name) noexcept {
    for (const PolicyName& there : names) {
      if (there == name) return true;
    }
    return false;
  }

  /// Calls `visit` once for each policy, in order.
  template <class Visit>
  static constexpr void for_each(Visit&& visit) {
    visit(std::type_identity<First>{});
    (visit(std::type_identity<Rest>{}), ...);
  }

  /// What `dispatch` returns for a visitor: its own Result, or a Result of what it returns.
  template <class Visit>
  using Outcome =
      typename detail::AsResult<std::invoke_result_t<Visit&, std::type_identity<First>>>::type;

  /// Calls `visit` with the policy of that name; its return type must not depend on the policy.
  /// policy_not_compiled, with what there is as the subject, where the list lacks it.
  template <class Visit>
  [[nodiscard]] static Outcome<Visit> dispatch(PolicyName name, Visit&& visit) {
    using Call = Outcome<Visit> (*)(Visit&);
    static constexpr Call calls[size] = {&call<First, Visit>, &call<Rest, Visit>...};
    for (std::size_t i = 0; i < size; ++i) {
      if (names[i] == name) return calls[i](visit);
    }
    return refusal(name, Span<const PolicyName>(names));
  }

 private:
  template <class P, class Visit>
  static Outcome<Visit> call(Visit& visit) {
    if constexpr (std::is_void_v<std::invoke_result_t<Visit&, std::type_identity<P>>>) {
      visit(std::type_identity<P>{});
      return {};
    } else {
      return visit(std::type_identity<P>{});
    }
  }
};

}  // namespace mitosis
