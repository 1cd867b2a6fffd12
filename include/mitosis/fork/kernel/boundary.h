// SPDX-License-Identifier: MIT OR GPL-2.0
// What the C++ of the kernel module and its C shim know of each other. World: kernel.
// The shim (kernel/shim) alone sees the kernel's headers, the C++ alone the templates; here are
// plain structures and functions. `mitosis_shim_*` is the shim's, `mitosis_core_*` the C++'s.
#ifndef MITOSIS_FORK_KERNEL_BOUNDARY_H
#define MITOSIS_FORK_KERNEL_BOUNDARY_H

#ifdef __cplusplus
extern "C" {
#endif

// The compiled policy's name: "rc+prefetch8+none+cow".
const char* mitosis_core_policy(void);

#ifdef __cplusplus
}
#endif

#endif
