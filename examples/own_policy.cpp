// SPDX-License-Identifier: MIT
// A combination of one's own that the tools do not have compiled in, in a list of its own: asked
// for by name as the agent does it, and refused where the list lacks it. World: user.
#include <mitosis/base/describe.hpp>
#include <mitosis/policy/list.hpp>
#include <mitosis/policy/parse.hpp>

#include <cstdio>
#include <string_view>

using namespace mitosis;

// Fetch 24 pages ahead over shared endpoints; axes that are not named have their defaults.
using Mine = Policy<Fetch<Prefetch<24>>, Cache<Local>, Transport<DCT>>;
static_assert(LegalPolicy<Mine> && Mine::prefetch == 24);
// DCT's queue takes 128 requests with one doorbell: this one would not compile.
static_assert(!LegalPolicy<Policy<Transport<DCT>, Fetch<Prefetch<200>>>>);

using Compiled = PolicyList<Mine, Policy<Fetch<Eager>>>;

/// Runs the combination of that name; here it only says what it is.
Result<unsigned> run(std::string_view text) {
  const auto name = parse_policy(text);
  if (!name) return name.error();
  return Compiled::dispatch(*name, [](auto policy) {
    using P = typename decltype(policy)::type;
    std::printf("running %s\n", format(name_of<P>).c_str());
    return P::prefetch;
  });
}

int main() {
  if (!run("dct+prefetch24+local")) return 1;
  const auto refused = run("rc+ondemand");
  std::printf("%s\n", describe(refused.error()).c_str());
  return refused.code() == Errc::policy_not_compiled ? 0 : 1;
}
