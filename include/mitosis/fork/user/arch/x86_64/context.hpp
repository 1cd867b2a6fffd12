// SPDX-License-Identifier: MIT
// Context: where a cooperative prepare will go on in its children, x86-64. World: user.
// As setjmp(3): what the System V ABI lets a function expect to find unchanged after a call, which
// is all the state there is at a call. Nothing is encrypted as glibc's setjmp does, since the
// restorer has to read it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mitosis::arch {

struct Context {
  std::uint64_t rbx, rbp, r12, r13, r14, r15;
  std::uint64_t rsp, rip;  ///< as of after the return
  std::uint32_t mxcsr;
  std::uint16_t x87_control;
  std::uint16_t reserved;
};
static_assert(offsetof(Context, rsp) == 48 && offsetof(Context, x87_control) == 68);

/// What context_save returns, in rax and rdx.
struct Saved {
  long child;         ///< 0, or in a resumed child 1
  const void* birth;  ///< in a resumed child: its local::Birth, see told_birth
};

/// Saves the caller's context and returns {0}; in a child that is resumed from it, returns {1, ...}
/// from the same call. The calling function must not have returned when the memory is captured.
/// Locals that it changes after the first return have undefined values in the child, as in setjmp.
[[gnu::naked, gnu::noinline, gnu::returns_twice]] inline Saved context_save(Context*) {
  asm volatile(
      "movq %rbx, 0(%rdi)\n\t"
      "movq %rbp, 8(%rdi)\n\t"
      "movq %r12, 16(%rdi)\n\t"
      "movq %r13, 24(%rdi)\n\t"
      "movq %r14, 32(%rdi)\n\t"
      "movq %r15, 40(%rdi)\n\t"
      "leaq 8(%rsp), %rcx\n\t"
      "movq %rcx, 48(%rdi)\n\t"
      "movq (%rsp), %rcx\n\t"
      "movq %rcx, 56(%rdi)\n\t"
      "stmxcsr 64(%rdi)\n\t"
      "fnstcw 68(%rdi)\n\t"
      "xorl %eax, %eax\n\t"
      "xorl %edx, %edx\n\t"
      "ret");
}

}  // namespace mitosis::arch
