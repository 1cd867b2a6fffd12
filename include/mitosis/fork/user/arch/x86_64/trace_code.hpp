// SPDX-License-Identifier: MIT
// The code that runs in a traced process: an interpreter of RemoteOps. World: user, x86-64 only.
// It lives in a page of its own and uses registers and that page alone, never the program's stack:
// a goroutine's has no room for strangers. A thread that is in it and loses its tracer returns to
// where it was by itself.
#pragma once

#include <asm/unistd.h>

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/capture/trace/remote_op.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::arch {

/// The code's bytes, entered at the first one with the registers of `entering`. The frame that rsp
/// points to is what rt_sigreturn(2) takes (see restore_frame.hpp).
[[gnu::noinline]] inline Bytes remote_code() noexcept {
  using capture::RemoteOp;
  using capture::RemoteSlot;
  const std::uint8_t* begin = nullptr;
  const std::uint8_t* end = nullptr;
  // rbx: RemoteSlot, rbp: the op, r12: the last op's end, r13: 1 in the shadow.
  asm(R"(
    .pushsection .rodata
    .balign 16
  77:
    mov   %c[first](%%rbx), %%rbp
    mov   %c[ops_end](%%rbx), %%r12
  1:  # next op
    cmp   %%r12, %%rbp
    jae   3f
    mov   %c[args](%%rbp), %%rdi
    mov   %c[args]+8(%%rbp), %%rsi
    mov   %c[args]+16(%%rbp), %%rdx
    mov   %c[args]+24(%%rbp), %%r10
    mov   %c[args]+32(%%rbp), %%r8
    mov   %c[args]+40(%%rbp), %%r9
    mov   %c[nr](%%rbp), %%rax
    syscall
    mov   %c[store](%%rbp), %%rdx
    mov   %%rax, (%%rdx)
    test  %%rax, %%rax
    jnz   2f
    cmpq  %[nr_clone], %c[nr](%%rbp)
    jne   2f
    mov   %c[shadow_first](%%rbx), %%rbp
    mov   %c[shadow_end](%%rbx), %%r12
    mov   $1, %%r13d
    jmp   1b
  2:
    add   %[op_bytes], %%rbp
    jmp   1b
  3:
    test  %%r13, %%r13
    jnz   5f
    mov   %c[done](%%rbx), %%rdx
    movq  $1, (%%rdx)
    lea   %c[no_signals](%%rbx), %%rdi
    xor   %%esi, %%esi
    lea   %c[patience](%%rbx), %%rdx
    mov   $8, %%r10d
    mov   %[nr_sigtimedwait], %%eax
    syscall
    mov   %[nr_sigreturn], %%eax
    syscall
    ud2
  5:  # the shadow waits for its lifeline's end
    xor   %%edi, %%edi
    lea   %c[scratch](%%rbx), %%rsi
    mov   $8, %%edx
    xor   %%eax, %%eax
    syscall
    test  %%rax, %%rax
    jg    5b
    cmp   $-4, %%rax
    je    5b
  6:
    xor   %%edi, %%edi
    mov   %[nr_exit], %%eax
    syscall
    jmp   6b
  78:
    .popsection
    lea   77b(%%rip), %[begin]
    lea   78b(%%rip), %[end]
  )"
      : [begin] "=r"(begin), [end] "=r"(end)
      : [first] "i"(offsetof(RemoteSlot, first)), [ops_end] "i"(offsetof(RemoteSlot, end)),
        [shadow_first] "i"(offsetof(RemoteSlot, shadow_first)),
        [shadow_end] "i"(offsetof(RemoteSlot, shadow_end)), [done] "i"(offsetof(RemoteSlot, done)),
        [no_signals] "i"(offsetof(RemoteSlot, no_signals)),
        [patience] "i"(offsetof(RemoteSlot, patience_seconds)),
        [scratch] "i"(offsetof(RemoteSlot, scratch)), [nr] "i"(offsetof(RemoteOp, number)),
        [args] "i"(offsetof(RemoteOp, arguments)), [store] "i"(offsetof(RemoteOp, store)),
        [op_bytes] "i"(sizeof(RemoteOp)), [nr_clone] "i"(__NR_clone),
        [nr_sigtimedwait] "i"(__NR_rt_sigtimedwait), [nr_sigreturn] "i"(__NR_rt_sigreturn),
        [nr_exit] "i"(__NR_exit_group));
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace mitosis::arch
