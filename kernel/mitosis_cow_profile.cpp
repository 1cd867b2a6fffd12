// SPDX-License-Identifier: MIT
// mitosis.ko without prefetch, with a profile in debugfs. World: kernel.
// The original's configuration "cow with profile".
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<OnDemand>, Cow<On>, Profile<On>>);
