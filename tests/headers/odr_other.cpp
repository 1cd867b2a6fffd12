// SPDX-License-Identifier: MIT
// The second unit of the one-definition test; see odr_main.cpp. World: user.
#include "all_headers.hpp"

const void* other_default_name() {
  return &mitosis::name_of<mitosis::Policy<>>;
}
