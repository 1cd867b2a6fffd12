// SPDX-License-Identifier: MIT
// Selects the architecture's files for the prepared side. World: user.
// A port adds a folder with the same files: syscall (raw_syscall), context (Context, context_save),
// thread_record (write_registers, write_xstate), features (xfeatures, arch id).
#pragma once

#if defined(__x86_64__)
#include <mitosis/fork/user/arch/x86_64/context.hpp>
#include <mitosis/fork/user/arch/x86_64/features.hpp>
#include <mitosis/fork/user/arch/x86_64/syscall.hpp>
#include <mitosis/fork/user/arch/x86_64/thread_record.hpp>
#else
#error "mitosis: user-space remote fork is not ported to this architecture yet: see fork/user/arch"
#endif
