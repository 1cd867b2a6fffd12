// SPDX-License-Identifier: MIT
// mitosis.ko without prefetch: a fault brings its page alone. World: kernel.
// The original's configuration "cow" and, since a stock kernel has no DCT, its "rc" too.
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<OnDemand>, Cow<On>>);
