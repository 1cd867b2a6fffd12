// SPDX-License-Identifier: MIT
// The blob: position-independent machine code that runs an OpProgram. World: user, x86-64 only.
// It uses registers alone, no stack and no libc, because all other memory goes away under it. Each
// thread of the child runs it, the further ones from the op that makes them.
#pragma once

#include <asm/unistd.h>

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/restore/op.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::arch {

/// The blob's bytes, to be copied to executable memory; entered at the first one by `enter_blob`.
/// It ends in rt_sigreturn from `frame`, or in exit_group(exit_not_restored).
[[gnu::noinline]] inline Bytes blob() noexcept {
  using restore::Op;
  using restore::OpProgram;
  const std::uint8_t* begin = nullptr;
  const std::uint8_t* end = nullptr;
  static_assert(sizeof(restore::OpReport) == 32, "its fields are read at 0, 8, 16 and 24");
  static_assert(offsetof(Op, nr) == 0 && offsetof(OpProgram, first) == 0);
  // rbx: OpProgram, rbp: the op. The kernel changes rax, rcx and r11 only.
  asm(R"(
    .pushsection .rodata
    .balign 16
  77:
    mov   (%%rbx), %%rbp
  1:  # next op
    cmp   %c[ops_end](%%rbx), %%rbp
    jae   5f
    mov   %c[args](%%rbp), %%rdi
    mov   %c[args]+8(%%rbp), %%rsi
    mov   %c[args]+16(%%rbp), %%rdx
    mov   %c[args]+24(%%rbp), %%r10
    mov   %c[args]+32(%%rbp), %%r8
    mov   %c[args]+40(%%rbp), %%r9
    mov   (%%rbp), %%rax
    syscall
    mov   %c[flags](%%rbp), %%ecx
    mov   %c[at](%%rbp), %%rdx
    test  %[thread], %%ecx
    jnz   8f
  9:
    test  %[until_set], %%ecx
    jnz   10f
    test  %[ignore], %%ecx
    jnz   2f
    test  %[equal], %%ecx
    jnz   11f
    cmp   $-4095, %%rax
    jae   6f
    test  %[store], %%ecx
    jz    4f
    test  %[if_set], %%ecx
    jz    3f
    cmpl  $0, (%%rdx)
    je    4f
  3:
    mov   %%eax, (%%rdx)
  4:
    test  %[compare], %%ecx
    jz    2f
    mov   %c[expect](%%rbp), %%esi
    cmp   %%esi, (%%rdx)
    je    2f
    jmp   7f
  11:
    cmp   %c[expect](%%rbp), %%rax
    jne   6f
  2:
    add   %[op_bytes], %%rbp
    jmp   1b
  8:  # a thread was made; the new one goes its own way
    test  %%rax, %%rax
    jnz   9b
    mov   %%rsp, %%rbx
    jmp   77b
  10:
    cmpl  $0, (%%rdx)
    je    1b
    jmp   2b
  5:  # become the child: nothing of the launcher's memory is left but this code and the frames
    mov   %c[frame](%%rbx), %%rsp
    mov   %c[scratch](%%rbx), %%rdi
    mov   %c[scratch_bytes](%%rbx), %%rsi
    mov   %c[left](%%rbx), %%rdx
    lock decl (%%rdx)
    jnz   12f
    mov   %[nr_munmap], %%eax
    syscall
  12:
    mov   %[nr_sigreturn], %%eax
    syscall
    ud2
  6:  # failed: complete the op's packet and send it
    mov   %c[report](%%rbp), %%r8
    mov   (%%r8), %%rsi
    mov   8(%%r8), %%rdx
    neg   %%eax
    mov   %c[errno_at](%%rbx), %%rcx
    mov   %%eax, (%%rsi,%%rcx)
    mov   %c[address_at](%%rbx), %%rcx
    mov   %c[args](%%rbp), %%rax
    mov   %%rax, (%%rsi,%%rcx)
    mov   %c[socket](%%rbx), %%rdi
    mov   $0x4000, %%r10d  # MSG_NOSIGNAL
    xor   %%r8d, %%r8d
    xor   %%r9d, %%r9d
    mov   %[nr_sendto], %%eax
    syscall
  7:  # say so and quit
    mov   %c[report](%%rbp), %%r8
    mov   16(%%r8), %%rsi
    mov   24(%%r8), %%rdx
    mov   $2, %%edi
    mov   %[nr_write], %%eax
    syscall
    mov   %[status], %%edi
    mov   %[nr_exit], %%eax
    syscall
    ud2
  78:
    .popsection
    lea   77b(%%rip), %[begin]
    lea   78b(%%rip), %[end]
  )"
      : [begin] "=r"(begin), [end] "=r"(end)
      : [ops_end] "i"(offsetof(OpProgram, end)), [frame] "i"(offsetof(OpProgram, frame)),
        [scratch] "i"(offsetof(OpProgram, scratch)),
        [scratch_bytes] "i"(offsetof(OpProgram, scratch_bytes)),
        [left] "i"(offsetof(OpProgram, left)), [errno_at] "i"(offsetof(OpProgram, errno_at)),
        [address_at] "i"(offsetof(OpProgram, address_at)),
        [socket] "i"(offsetof(OpProgram, socket)), [args] "i"(offsetof(Op, args)),
        [expect] "i"(offsetof(Op, expect)), [at] "i"(offsetof(Op, at)),
        [report] "i"(offsetof(Op, report)), [flags] "i"(offsetof(Op, flags)),
        [op_bytes] "i"(sizeof(Op)), [ignore] "i"(restore::op_ignore),
        [equal] "i"(restore::op_equal), [store] "i"(restore::op_store),
        [compare] "i"(restore::op_compare), [if_set] "i"(restore::op_if_set),
        [until_set] "i"(restore::op_until_set), [thread] "i"(restore::op_thread),
        [status] "i"(restore::exit_not_restored), [nr_munmap] "i"(__NR_munmap),
        [nr_sigreturn] "i"(__NR_rt_sigreturn), [nr_sendto] "i"(__NR_sendto),
        [nr_write] "i"(__NR_write), [nr_exit] "i"(__NR_exit_group));
  return {begin, static_cast<std::size_t>(end - begin)};
}

/// Jumps to a copy of the blob; the calling program ends here.
[[noreturn]] inline void enter_blob(std::uint64_t code,
                                    const restore::OpProgram* program) noexcept {
  asm volatile("mov %1, %%rbx\n\tjmp *%0" : : "a"(code), "d"(program) : "memory");
  __builtin_unreachable();
}

}  // namespace mitosis::arch
