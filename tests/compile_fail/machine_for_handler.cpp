// SPDX-License-Identifier: MIT
// A machine's id is no handler's, though both are numbers. World: any.
// expect: HandlerId
#include <mitosis/base/error.hpp>

mitosis::Error about(mitosis::MachineId machine) {
  return mitosis::Error(mitosis::Errc::timed_out).of_handler(machine);
}
