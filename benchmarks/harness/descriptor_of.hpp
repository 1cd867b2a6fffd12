// SPDX-License-Identifier: MIT
// descriptor_of: a descriptor like a real process's, made without one. World: user.
#pragma once

#include <harness/memory.hpp>
#include <mitosis/mem/descriptor/builder.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <vector>

namespace bench {

inline constexpr std::uint64_t first_address = 0x10000000;

/// One owner, `vmas` anonymous VMAs of `pages_each` touched pages, a page apart.
inline std::vector<std::uint8_t> descriptor_of(std::uint64_t vmas, std::uint64_t pages_each) {
  using namespace mitosis;  // NOLINT
  DescriptorBuilder builder(descriptor::Arch::x86_64, HandlerId{1}, Generation{1});
  descriptor::OwnerRecord owner = {};
  owner.machine = 1;
  builder.owners.push_back(owner);
  builder.add_thread({}, {});
  for (std::uint64_t i = 0; i < vmas; ++i) {
    descriptor::VmaRecord vma = {};
    vma.start = first_address + i * (pages_each + 1) * page;
    vma.end = vma.start + pages_each * page;
    vma.prot = 3;
    vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::anonymous);
    vma.path = descriptor::no_string;
    builder.vmas.push_back(vma);
    const PageNumber first{vma.start / page};
    builder.add_run({first, pages_each}, first, 0, false);
  }
  return builder.finish();
}

}  // namespace bench
