// SPDX-License-Identifier: MIT
// mitosis.ko with the default policy. World: kernel.
// A stock kernel has no DCT; its default is RC. Another module is another line: see README.md.
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<Prefetch<8>>, Cow<On>>);
