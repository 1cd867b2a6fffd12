// SPDX-License-Identifier: MIT
// A program outside the project: built against the installed headers alone. World: user.
#include <mitosis/policy/matrix.hpp>

#include <cstdio>

int main() {
  using Mine = mitosis::Policy<mitosis::Transport<mitosis::DCT>, mitosis::Fetch<mitosis::Eager>>;
  std::puts(mitosis::format(mitosis::name_of<Mine>).c_str());
  return mitosis::FullMatrix::contains(mitosis::name_of<Mine>) ? 0 : 1;
}
