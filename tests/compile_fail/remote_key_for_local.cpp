// SPDX-License-Identifier: MIT
// A target's name (a remote key) is not memory of this machine. World: any.
// expect: LocalMemory
#include <mitosis/net/fabric.hpp>

mitosis::LocalMemory destination(mitosis::TargetName remote) {
  return remote;
}
