// SPDX-License-Identifier: MIT
// mitosis.ko whose prepare copies the memory instead of protecting it. World: kernel.
// For parents that write to most of their memory soon after; the original's "no cow".
#include <mitosis/fork/kernel/module.hpp>

MITOSIS_KERNEL_MODULE(Policy<Transport<RC>, Fetch<Prefetch<8>>, Cow<Off>>);
