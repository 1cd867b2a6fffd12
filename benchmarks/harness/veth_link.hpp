// SPDX-License-Identifier: MIT
// The link that the agents of a TwoMachines talk over, for floors on the same wire. World: user.
#pragma once

#include <floors/connection.hpp>
#include <testbed/two_machines.hpp>

namespace bench {

/// From the child's machine to the parent's, whose address is 10.77.0.1.
inline Link veth_link(const mitosis::testbed::TwoNetworks& networks) {
  return Link{networks.child.fd(), networks.parent.fd(), 0x0a4d0001u};
}

}  // namespace bench
