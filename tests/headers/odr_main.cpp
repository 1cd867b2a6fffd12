// SPDX-License-Identifier: MIT
// Links two translation units that both include every header: a definition that is not inline is
// a duplicate symbol. World: user.
#include "all_headers.hpp"

// What the module's headers call of its shim: what is inline there is in both units too.
#include "../fuzz/kernel_shim.hpp"

const void* other_default_name();

int main() {
  // One entity in the whole program: both units see the same inline constant.
  return other_default_name() == &mitosis::name_of<mitosis::Policy<>> ? 0 : 1;
}
