// SPDX-License-Identifier: MIT
// A failure cannot be overlooked. World: any.
// expect: nodiscard
#include <mitosis/base/result.hpp>

mitosis::Result<int> try_it();

void careless() {
  try_it();
}
