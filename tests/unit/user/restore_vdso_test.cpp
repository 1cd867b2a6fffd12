// SPDX-License-Identifier: MIT
// The vdso of another kernel: its functions lead to this machine's. World: user.
// There is no other kernel here: its vdso is a copy of this one's, put out of order.
#include "restore_fixture.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <random>

namespace mitosis::restore::test {
namespace {

using Image = std::vector<std::uint8_t>;

Image local_image() {
  const auto own = read_address_space();
  const Bytes bytes = own_vdso(own->vdso);
  return {bytes.begin(), bytes.end()};
}
std::uint64_t local_start() {
  return read_address_space()->vdso.start;
}
/// Its code does nothing but end the process; its tables are as they were.
Image foreign_image() {
  Image image = local_image();
  std::uint64_t first = image.size();
  for (const VdsoEntry& entry : vdso_entries(image)) first = std::min(first, entry.offset);
  std::fill(image.begin() + static_cast<std::ptrdiff_t>(first), image.end(), std::uint8_t{0xcc});
  return image;
}
/// The name in the image's tables becomes another of the same length.
void rename(Image& image, std::string_view from, std::string_view to) {
  for (auto at = image.begin();;) {
    at = std::search(at, image.end(), from.begin(), from.end());
    if (at == image.end()) return;
    at = std::copy(to.begin(), to.end(), at);
  }
}
std::uint64_t offset_of(const Image& image, std::string_view name) {
  for (const VdsoEntry& entry : vdso_entries(image)) {
    if (entry.name == name) return entry.offset;
  }
  ADD_FAILURE() << name;
  return 0;
}

/// An image as it will lie in a child.
class Executable {
 public:
  explicit Executable(const Image& image) : bytes_(image.size()) {
    at_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memcpy(at_, image.data(), bytes_);
    ::mprotect(at_, bytes_, PROT_READ | PROT_EXEC);
  }
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  ~Executable() { ::munmap(at_, bytes_); }
  template <class... Args>
  long call(std::uint64_t offset, Args... args) const {
    return reinterpret_cast<long (*)(Args...)>(reinterpret_cast<std::uint64_t>(at_) +
                                               offset)(args...);
  }

 private:
  std::size_t bytes_;
  void* at_;
};

TEST(RestoreVdso, AllFunctionsOfThisMachinesAreFound) {
  const Image image = local_image();
  std::vector<std::string_view> names;
  for (const VdsoEntry& entry : vdso_entries(image)) names.push_back(entry.name);
  for (const char* name : {"clock_gettime", "gettimeofday", "time", "getcpu", "clock_getres"}) {
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 2) << name;  // with and without __vdso_
  }
}

TEST(RestoreVdso, ARedirectedFunctionIsThisMachines) {
  const Image parent = foreign_image();
  const auto redirected = redirect_vdso(parent, parent.size(), local_image(), local_start());
  ASSERT_TRUE(redirected.ok()) << describe(redirected.error());
  const Executable run(*redirected);
  timespec before = {}, here = {};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  EXPECT_EQ(run.call(offset_of(parent, "clock_gettime"), CLOCK_MONOTONIC, &here), 0);
  EXPECT_GE(here.tv_sec, before.tv_sec);
  EXPECT_LE(here.tv_sec, before.tv_sec + 10);
}

TEST(RestoreVdso, WhatThisMachinesLacksMakesTheSystemCall) {
  Image local = local_image();
  rename(local, "time", "tame");  // clock_gettime's end and gettimeofday's middle too
  rename(local, "getcpu", "getcap");
  const Image parent = foreign_image();
  const auto redirected = redirect_vdso(parent, parent.size(), local, local_start());
  ASSERT_TRUE(redirected.ok()) << describe(redirected.error());
  const Executable run(*redirected);
  const long now = ::time(nullptr);
  EXPECT_GE(run.call(offset_of(parent, "time"), static_cast<time_t*>(nullptr)), now);
  timespec here = {};
  EXPECT_EQ(run.call(offset_of(parent, "clock_gettime"), CLOCK_REALTIME, &here), 0);
  EXPECT_GE(here.tv_sec, now);
  unsigned cpu = ~0u;
  EXPECT_EQ(run.call(offset_of(parent, "getcpu"), &cpu, nullptr, nullptr), 0);
  EXPECT_LT(cpu, 4096u);
  EXPECT_EQ(run.call(offset_of(parent, "clock_gettime"), 12345, &here), -EINVAL);
}

TEST(RestoreVdso, WhatNoSystemCallDoesSaysSo) {
  Image parent = foreign_image();
  rename(parent, "getcpu", "newone");
  const auto redirected = redirect_vdso(parent, parent.size(), local_image(), local_start());
  ASSERT_TRUE(redirected.ok());
  EXPECT_EQ(Executable(*redirected).call(offset_of(parent, "newone")), -ENOSYS);
}

TEST(RestoreVdso, FunctionsWithoutRoomForAJumpAreRefusedByName) {
  Image parent = foreign_image();
  const std::uint64_t time = offset_of(parent, "time"), getcpu = offset_of(parent, "getcpu");
  for (std::size_t i = 0; i + 8 <= parent.size(); i += 8) {  // getcpu's symbols
    std::uint64_t value;
    std::memcpy(&value, &parent[i], 8);
    if (value != getcpu) continue;
    value = time + 8;
    std::memcpy(&parent[i], &value, 8);
  }
  const auto redirected = redirect_vdso(parent, parent.size(), local_image(), local_start());
  ASSERT_FALSE(redirected.ok());
  EXPECT_EQ(redirected.error().code, Errc::vdso_mismatch);
  EXPECT_STREQ(redirected.error().subject.c_str(), "no room in its function time");
}

TEST(RestoreVdso, AHostileImageHarmsNobody) {
  const Image valid = local_image();
  const auto survives = [&](const Image& image) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[image.size()]);
    std::copy(image.begin(), image.end(), exact.get());
    const Bytes bytes(exact.get(), image.size());
    for (const VdsoEntry& entry : vdso_entries(bytes)) ASSERT_LT(entry.offset, image.size());
    (void)redirect_vdso(bytes, (image.size() + page_size - 1) & ~(page_size - 1), valid, 0);
  };
  for (std::size_t size = 0; size < valid.size(); size += 7) {
    survives(Image(valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(size)));
  }
  std::mt19937_64 random(7);
  for (int round = 0; round < 5000; ++round) {
    Image image = valid;
    for (std::uint64_t harms = 1 + random() % 8; harms > 0; --harms) {
      const std::size_t at = random() % 0x480;  // the headers and tables
      const std::uint64_t values[] = {0, 1, random(), ~std::uint64_t{0}, image.size() - 4};
      std::memcpy(&image[at], &values[random() % 5], 1 + random() % 8);
    }
    survives(image);
  }
}

/// A program that has its vdso's addresses, captured under "another kernel".
class RestoreForeignVdso : public RestoreFixture {
 protected:
  void SetUp() override {
    RestoreFixture::SetUp();
    if (IsSkipped()) return;
    parent_.reset();
    parent_ = std::make_unique<CapturedProgram>(std::vector<std::string>{RESTORE_VDSO_PARENT});
    ASSERT_TRUE(parent_->stopped());
  }
  /// Other code, another layout: its vvar has one page.
  DescriptorBuilder describe_foreign() const {
    auto b = parent_->describe(nullptr);
    b.machine.vdso_hash ^= 1;
    b.machine.kernel_release = b.string("5.4.0-of-the-parent");
    b.vdso = foreign_image();
    std::erase_if(b.vmas, [](const descriptor::VmaRecord& vma) {
      return vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::vvar_vclock);
    });
    for (descriptor::VmaRecord& vma : b.vmas) {
      if (vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::vvar)) {
        vma.end = vma.start + page_size;
      }
    }
    return b;
  }
  /// What check_machine says here.
  static std::string refusal(const DescriptorBuilder& b) {
    const auto bytes = b.finish();
    const auto view = DescriptorView::parse(bytes);
    if (!view) return describe(view.error());
    utsname name = {};
    const auto own = read_address_space();
    const auto checked = check_machine(*view, look_at_machine(*own, name));
    return checked ? "" : describe(checked.error());
  }
};

TEST_F(RestoreForeignVdso, TheParentsAddressesLeadToThisMachinesFunctions) {
  for (const bool cache : {false, true}) {
    TestAgent agent(*parent_, describe_foreign().finish(), {.cache_local = cache});
    EXPECT_RESTORED(agent, resume(agent));
  }
}

TEST_F(RestoreForeignVdso, IsRefusedWithoutItsImageNamingBothKernels) {
  auto b = describe_foreign();
  b.vdso.clear();
  const std::string said = refusal(b);
  utsname name = {};
  ::uname(&name);
  EXPECT_NE(said.find("5.4.0-of-the-parent"), std::string::npos) << said;
  EXPECT_NE(said.find(name.release), std::string::npos) << said;
  EXPECT_NE(said.find("no copy"), std::string::npos) << said;
}

TEST_F(RestoreForeignVdso, AThreadInsideItIsRefused) {
  auto b = describe_foreign();
  EXPECT_EQ(refusal(b), "");
  const auto vdso = std::find_if(b.vmas.begin(), b.vmas.end(), [](const auto& vma) {
    return vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::vdso);
  });
  b.threads[0].registers[arch::reg_rip] = vdso->start + 100;
  const std::string said = refusal(b);
  EXPECT_NE(said.find("a thread was stopped inside it"), std::string::npos) << said;
}

}  // namespace
}  // namespace mitosis::restore::test
