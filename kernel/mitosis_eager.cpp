// SPDX-License-Identifier: MIT
// mitosis.ko whose children begin with all of their memory. World: kernel.
// The original's configuration "eager".
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<Eager>, Cow<On>>);
