// SPDX-License-Identifier: MIT
// MITOSIS_KERNEL_MODULE: a kernel module out of one policy. World: kernel.
// The only macro of the headers: what the shim calls are C functions, which are no templates.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/policy.hpp>

namespace mitosis::kernel {

/// What a module does, for one policy.
template <LegalPolicy P>
struct Module {
  static_assert(!P::dct,
                "use Transport<RC> in a kernel module: a stock kernel's verbs have no DCT");

  static constexpr PolicyText name = format(name_of<P>);
};

}  // namespace mitosis::kernel

/// Defines what the shim calls. Once in a module, in its only C++ file, as the last line.
#define MITOSIS_KERNEL_MODULE(...)                            \
  using namespace mitosis; /* the policy's words */           \
  using MitosisModule = mitosis::kernel::Module<__VA_ARGS__>; \
  extern "C" const char* mitosis_core_policy() {              \
    static constexpr auto name = MitosisModule::name;         \
    return name.c_str();                                      \
  }                                                           \
  static_assert(true)
