// SPDX-License-Identifier: MIT
// mitosis.ko whose children of one parent share what they fetch. World: kernel.
// The original's configuration "cache".
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<Prefetch<8>>, Cache<Local>, Cow<On>>);
