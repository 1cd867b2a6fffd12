// SPDX-License-Identifier: MIT
// The engine, compiled for every policy of the full matrix. World: user.
#include <mitosis/fork/user/agent/paged_child_factory.hpp>

namespace mitosis::agent {

std::unique_ptr<PagedChild> make_paged_child(PagedChildParts parts) {
  return make_paged_child_of_any_policy(std::move(parts));
}

}  // namespace mitosis::agent
