// SPDX-License-Identifier: MIT
// Selects the architecture's files for a capture by ptrace. World: user.
// A port adds a folder with the same files: trace_registers (Registers, what an interrupted system
// call becomes), trace_restart (which one it is), trace_code (remote_code, the interpreter that
// runs in the traced process).
#pragma once

#if defined(__x86_64__)
#include <mitosis/fork/user/arch/x86_64/trace_code.hpp>
#include <mitosis/fork/user/arch/x86_64/trace_registers.hpp>
#include <mitosis/fork/user/arch/x86_64/trace_restart.hpp>
#else
#error "mitosis: user-space remote fork is not ported to this architecture yet: see fork/user/arch"
#endif
