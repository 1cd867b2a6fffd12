// SPDX-License-Identifier: MIT
// Selects the architecture's files for the restored side. World: user.
// A port adds a folder with the same files: restore_blob (blob, enter_blob), restore_frame
// (frame_bytes, write_frame), restore_thread (thread pointers), restore_cpu (what the CPU has),
// restore_vdso (what stands in for another kernel's vdso).
#pragma once

#if defined(__x86_64__)
#include <mitosis/fork/user/arch/x86_64/restore_blob.hpp>
#include <mitosis/fork/user/arch/x86_64/restore_cpu.hpp>
#include <mitosis/fork/user/arch/x86_64/restore_frame.hpp>
#include <mitosis/fork/user/arch/x86_64/restore_thread.hpp>
#include <mitosis/fork/user/arch/x86_64/restore_vdso.hpp>
#else
#error "mitosis: user-space remote fork is not ported to this architecture yet: see fork/user/arch"
#endif
