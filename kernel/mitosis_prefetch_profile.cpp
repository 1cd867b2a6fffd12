// SPDX-License-Identifier: MIT
// mitosis.ko with the default policy and a profile in debugfs. World: kernel.
// The original's configuration "prefetch with profile".
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<Prefetch<8>>, Cow<On>, Profile<On>>);
