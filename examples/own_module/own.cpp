// SPDX-License-Identifier: MIT
// A mitosis.ko of one's own: 32 pages ahead, every prepare a copy, times in debugfs. World: kernel.
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Fetch<Prefetch<32>>, Cow<Off>, Profile<On>, Transport<RC>>);
