// SPDX-License-Identifier: MIT
// Whether this CPU has what the parent's had, by name. World: user, x86-64 only.
// A program picks its code by the CPU once, at its start (ifuncs, numpy's dispatch): its child
// must find the same instructions. Asked of libc, since each CPUID costs a VM exit in a guest.
#pragma once

#if __has_include(<sys/platform/x86.h>)
#ifdef __clang__    // the header is C's, and clang's C++ has no _Bool
#define _Bool bool  // NOLINT(bugprone-reserved-identifier)
#endif
#include <sys/platform/x86.h>
#ifdef __clang__
#undef _Bool
#endif
#endif

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/arch/x86_64/features.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>

#include <cstdint>
#include <string_view>

namespace mitosis::arch {

/// An extended state component's name; empty for one that has none yet.
constexpr const char* xfeature_name(unsigned bit) noexcept {
  constexpr const char* names[] = {"x87",
                                   "SSE",
                                   "AVX",
                                   "MPX bounds",
                                   "MPX config",
                                   "AVX-512 opmask",
                                   "AVX-512 ZMM_Hi256",
                                   "AVX-512 Hi16_ZMM",
                                   "PT",
                                   "PKRU",
                                   "PASID",
                                   "CET user",
                                   "CET supervisor",
                                   "HDC",
                                   "UINTR",
                                   "LBR",
                                   "HWP",
                                   "AMX TILECFG",
                                   "AMX TILEDATA",
                                   "APX"};
  return bit < sizeof names / sizeof *names ? names[bit] : "";
}

/// missing_cpu_feature, naming the XCR0 components that the parent's machine had enabled and ours
/// has not.
inline Result<void> check_xfeatures(std::uint64_t parents, std::uint64_t ours) noexcept {
  const std::uint64_t missing = parents & ~ours;
  if (missing == 0) return {};
  Error error(Errc::missing_cpu_feature);
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((missing >> bit & 1) == 0) continue;
    if (!error.subject.empty()) error.subject.append(", ");
    if (*xfeature_name(bit) != '\0') {
      error.subject.append(xfeature_name(bit));
    } else {
      error.subject.append("XCR0 bit ");
      descriptor::append_number(error.subject, bit);
    }
  }
  return error.in("check the CPU");
}

#if __has_include(<sys/platform/x86.h>)

inline constexpr bool knows_cpu_features = true;

/// Whether this CPU has an instruction set extension, by its name in /proc/cpuinfo; true for a
/// name that no program's code hangs on (most are about the kernel's side). 3dnowprefetch is one:
/// Linux adds it to every 64-bit AMD CPU, whatever CPUID says (arch/x86/kernel/cpu/amd.c).
inline bool has_cpu_feature(std::string_view name) noexcept {
  struct Feature {
    std::string_view name;
    unsigned index;
  };
  static constexpr Feature features[] = {{"pni", x86_cpu_SSE3},
                                         {"pclmulqdq", x86_cpu_PCLMULQDQ},
                                         {"ssse3", x86_cpu_SSSE3},
                                         {"fma", x86_cpu_FMA},
                                         {"cx16", x86_cpu_CMPXCHG16B},
                                         {"sse4_1", x86_cpu_SSE4_1},
                                         {"sse4_2", x86_cpu_SSE4_2},
                                         {"movbe", x86_cpu_MOVBE},
                                         {"popcnt", x86_cpu_POPCNT},
                                         {"aes", x86_cpu_AES},
                                         {"xsave", x86_cpu_XSAVE},
                                         {"avx", x86_cpu_AVX},
                                         {"f16c", x86_cpu_F16C},
                                         {"rdrand", x86_cpu_RDRAND},
                                         {"fsgsbase", x86_cpu_FSGSBASE},
                                         {"bmi1", x86_cpu_BMI1},
                                         {"avx2", x86_cpu_AVX2},
                                         {"bmi2", x86_cpu_BMI2},
                                         {"erms", x86_cpu_ERMS},
                                         {"rtm", x86_cpu_RTM},
                                         {"avx512f", x86_cpu_AVX512F},
                                         {"avx512dq", x86_cpu_AVX512DQ},
                                         {"rdseed", x86_cpu_RDSEED},
                                         {"adx", x86_cpu_ADX},
                                         {"avx512ifma", x86_cpu_AVX512_IFMA},
                                         {"clflushopt", x86_cpu_CLFLUSHOPT},
                                         {"clwb", x86_cpu_CLWB},
                                         {"avx512cd", x86_cpu_AVX512CD},
                                         {"sha_ni", x86_cpu_SHA},
                                         {"avx512bw", x86_cpu_AVX512BW},
                                         {"avx512vl", x86_cpu_AVX512VL},
                                         {"avx512vbmi", x86_cpu_AVX512_VBMI},
                                         {"waitpkg", x86_cpu_WAITPKG},
                                         {"avx512_vbmi2", x86_cpu_AVX512_VBMI2},
                                         {"gfni", x86_cpu_GFNI},
                                         {"vaes", x86_cpu_VAES},
                                         {"vpclmulqdq", x86_cpu_VPCLMULQDQ},
                                         {"avx512_vnni", x86_cpu_AVX512_VNNI},
                                         {"avx512_bitalg", x86_cpu_AVX512_BITALG},
                                         {"avx512_vpopcntdq", x86_cpu_AVX512_VPOPCNTDQ},
                                         {"rdpid", x86_cpu_RDPID},
                                         {"movdiri", x86_cpu_MOVDIRI},
                                         {"movdir64b", x86_cpu_MOVDIR64B},
                                         {"avx512_vp2intersect", x86_cpu_AVX512_VP2INTERSECT},
                                         {"serialize", x86_cpu_SERIALIZE},
                                         {"amx_bf16", x86_cpu_AMX_BF16},
                                         {"avx512_fp16", x86_cpu_AVX512_FP16},
                                         {"amx_tile", x86_cpu_AMX_TILE},
                                         {"amx_int8", x86_cpu_AMX_INT8},
                                         {"avx_vnni", x86_cpu_AVX_VNNI},
                                         {"avx512_bf16", x86_cpu_AVX512_BF16},
                                         {"lahf_lm", x86_cpu_LAHF64_SAHF64},
                                         {"abm", x86_cpu_LZCNT},
                                         {"sse4a", x86_cpu_SSE4A},
                                         {"xop", x86_cpu_XOP},
                                         {"fma4", x86_cpu_FMA4},
                                         {"tbm", x86_cpu_TBM},
                                         {"rdtscp", x86_cpu_RDTSCP},
                                         {"xsaveopt", x86_cpu_XSAVEOPT},
                                         {"xsavec", x86_cpu_XSAVEC},
                                         {"xgetbv1", x86_cpu_XGETBV_ECX_1}};
  for (const Feature& f : features) {
    if (f.name == name) return x86_cpu_present(f.index);
  }
  return true;
}

/// XCR0, as arch::xfeatures() tells it.
inline std::uint64_t usable_xfeatures() noexcept {
  if (!x86_cpu_present(x86_cpu_OSXSAVE)) return 0;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

#else  // a libc without the list: XCR0 alone tells, which misses little but SSE's and AVX's steps

inline constexpr bool knows_cpu_features = false;
inline bool has_cpu_feature(std::string_view) noexcept {
  return true;
}
inline std::uint64_t usable_xfeatures() noexcept {
  return xfeatures();
}

#endif

}  // namespace mitosis::arch
