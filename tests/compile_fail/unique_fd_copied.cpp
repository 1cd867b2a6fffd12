// SPDX-License-Identifier: MIT
// A descriptor has one owner. World: user.
// expect: deleted
#include <mitosis/base/unique_fd.hpp>

mitosis::UniqueFd duplicate(const mitosis::UniqueFd& owner) {
  return owner;
}
