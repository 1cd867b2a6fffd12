// SPDX-License-Identifier: MIT
// MatrixTypes and PolicyCaseName: a list of policies as a GoogleTest typed suite whose cases read
// `dct_prefetch8_local_cow`. World: user. It needs no gtest header itself:
//   TYPED_TEST_SUITE(ForkLaws, MatrixTypes<testing::Types>, PolicyCaseName);
#pragma once

#include <mitosis/policy/matrix.hpp>

#include <string>

namespace mitosis {

namespace detail {
template <template <class...> class Types, class List>
struct Rebind;
template <template <class...> class Types, class... Policies>
struct Rebind<Types, PolicyList<Policies...>> {
  using type = Types<Policies...>;
};
}  // namespace detail

/// The policies of a list (all of them, unless another list is given) as `Types<...>`.
template <template <class...> class Types, class List = FullMatrix>
using MatrixTypes = typename detail::Rebind<Types, List>::type;

/// Names a typed suite's case after its policy.
struct PolicyCaseName {
  template <LegalPolicy P>
  static std::string GetName(int) {  // NOLINT: the name that GoogleTest calls
    return format(name_of<P>, "_").c_str();
  }
};

}  // namespace mitosis
