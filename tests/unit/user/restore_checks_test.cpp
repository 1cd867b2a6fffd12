// SPDX-License-Identifier: MIT
// check_machine(): descriptors of other machines are refused, by what is other. World: user.
#include <gtest/gtest.h>

#include <mitosis/fork/user/restore/checks.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <string>

namespace mitosis::restore {
namespace {

/// A descriptor that this machine can run, to be altered.
class RestoreChecks : public testing::Test {
 protected:
  static DescriptorBuilder builder(descriptor::Arch arch = arch::this_arch) {
    DescriptorBuilder b(arch, HandlerId{1}, Generation{1});
    b.owners.push_back({});
    descriptor::ThreadRecord thread = {};
    thread.registers[arch::reg_cs] = 0x33;
    b.threads.push_back(thread);
    b.machine.vdso_hash = 77;
    b.machine.xfeatures = 7;
    b.machine.kernel_release = b.string("6.1.0-of-the-parent");
    b.machine.cpu_features = b.string("fpu,sse4_2,no_such_flag");
    add(b, descriptor::VmaKind::anonymous, {0x10000000, 0x10001000});
    add(b, descriptor::VmaKind::vvar, {0x20000000, 0x20004000});
    add(b, descriptor::VmaKind::vdso, {0x20004000, 0x20006000});
    return b;
  }
  static void add(DescriptorBuilder& b, descriptor::VmaKind kind, Range range) {
    descriptor::VmaRecord vma = {};
    vma.start = range.start;
    vma.end = range.end;
    vma.kind = static_cast<std::uint32_t>(kind);
    vma.path = descriptor::no_string;
    b.vmas.push_back(vma);
  }
  Error check(const DescriptorBuilder& b) const {
    const auto bytes = b.finish();
    const auto view = DescriptorView::parse(bytes);
    EXPECT_TRUE(view.ok()) << view.error().subject.c_str();
    const auto result = check_machine(*view, here_);
    return result ? Error() : result.error();
  }

  Machine here_ = {7, {0x70000000, 0x70004000}, {}, {0x70004000, 0x70006000}, 77, "6.18.0-here"};
};

TEST_F(RestoreChecks, AcceptsItsOwnKind) {
  EXPECT_EQ(check(builder()).code, Errc::ok);
}

TEST_F(RestoreChecks, RefusesAnotherArchitecture) {
  EXPECT_EQ(check(builder(descriptor::Arch::aarch64)).code, Errc::wrong_architecture);
}

TEST_F(RestoreChecks, RefusesA32BitProgram) {
  auto b = builder();
  b.threads[0].registers[arch::reg_cs] = 0x23;
  EXPECT_EQ(check(b).code, Errc::unsupported_process);
}

TEST_F(RestoreChecks, RefusesA32BitThread) {
  auto b = builder();
  b.threads.push_back(b.threads[0]);
  EXPECT_EQ(check(b).code, Errc::ok);
  b.threads[1].registers[arch::reg_cs] = 0x23;
  EXPECT_EQ(check(b).code, Errc::unsupported_process);
}

TEST_F(RestoreChecks, NamesTheExtendedStateThatIsMissing) {
  auto b = builder();
  b.machine.xfeatures = 7 | 1u << 18 | std::uint64_t{1} << 40;
  const Error error = check(b);
  EXPECT_EQ(error.code, Errc::missing_cpu_feature);
  EXPECT_STREQ(error.subject.c_str(), "AMX TILEDATA, XCR0 bit 40");
}

TEST_F(RestoreChecks, NamesTheInstructionsThatAreMissing) {
  if (!arch::knows_cpu_features) GTEST_SKIP() << "this libc does not tell";
  auto b = builder();
  b.machine.cpu_features = b.string("fpu,xop,sse2,fma4");  // of one maker, long gone
  if (arch::has_cpu_feature("xop") || arch::has_cpu_feature("fma4")) GTEST_SKIP() << "has them";
  const Error error = check(b);
  EXPECT_EQ(error.code, Errc::missing_cpu_feature);
  EXPECT_STREQ(error.subject.c_str(), "xop, fma4");
}

TEST_F(RestoreChecks, AnotherVdsoIsRefusedNamingBothKernels) {
  auto other_code = builder();
  other_code.machine.vdso_hash = 78;
  auto longer = builder();
  longer.vmas[2].end += page_size;
  auto further_apart = builder();
  further_apart.vmas[2].start += page_size;
  further_apart.vmas[2].end += page_size;
  auto without_vvar = builder();
  without_vvar.vmas.erase(without_vvar.vmas.begin() + 1);
  auto with_vclock = builder();
  add(with_vclock, descriptor::VmaKind::vvar_vclock, {0x20006000, 0x20008000});
  for (const auto* b : {&other_code, &longer, &further_apart, &without_vvar, &with_vclock}) {
    const Error error = check(*b);
    EXPECT_EQ(error.code, Errc::vdso_mismatch);
    const std::string subject = error.subject.c_str();
    EXPECT_NE(subject.find("6.1.0-of-the-parent"), std::string::npos) << subject;
    EXPECT_NE(subject.find("6.18.0-here"), std::string::npos) << subject;
  }
}

TEST_F(RestoreChecks, AParentWithoutAVdsoNeedsNone) {
  auto b = builder();
  b.vmas.resize(1);
  EXPECT_EQ(check(b).code, Errc::ok);
}

TEST_F(RestoreChecks, AnAddressThatMayNotBeMappedIsNamed) {
  if (::geteuid() == 0 && ::seteuid(65534) != 0) GTEST_SKIP() << "root may map anything";
  auto b = builder();
  b.vmas[0].start = 0;
  b.vmas[0].end = page_size;
  add(b, descriptor::VmaKind::anonymous, {0x30000000, 0x30001000});
  const Error error = check(b);
  (void)::seteuid(0);
  EXPECT_EQ(error.code, Errc::address_in_use);
  EXPECT_NE(std::string(error.subject.c_str()).find("mmap_min_addr"), std::string::npos);
}

TEST_F(RestoreChecks, ThisMachineHasWhatItSaysOfItself) {
  const auto own = read_address_space();
  ASSERT_TRUE(own.ok());
  utsname name = {};
  const Machine here = look_at_machine(*own, name);
  EXPECT_EQ(here.xfeatures, arch::xfeatures());
  EXPECT_NE(here.vdso_hash, 0u);
  EXPECT_STREQ(here.kernel_release, name.release);
}

}  // namespace
}  // namespace mitosis::restore
