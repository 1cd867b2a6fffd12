// SPDX-License-Identifier: MIT
// Prepared: a frozen parent, as its machine keeps it for children. World: sim.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/sim/address_space.hpp>
#include <mitosis/fork/sim/any_child.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// What a resume needs to know of a prepared parent.
struct Ticket {
  MachineId machine = MachineId::none;
  HandlerId handler{};
  AuthKey key;
};

/// The pages and the descriptor of the moment of prepare.
struct Prepared {
  AuthKey key;
  Generation generation{};
  TargetName target;
  Time lease_until = Time::never;
  std::map<PageNumber, Content> pages;
  std::shared_ptr<const Image> image;
  std::uint64_t reads = 0;  ///< pages served

  /// Reads for a child; never a page that was not there at prepare.
  Errc read(std::uint64_t address, MutableBytes into) {
    for (std::uint64_t at = 0; at < into.size(); at += page_size) {
      const auto found = pages.find(page_of(address + at));
      if (found == pages.end()) return Errc::page_unavailable;
      __builtin_memcpy(into.data() + at, found->second.get(), page_size);
      ++reads;
    }
    return Errc::ok;
  }
};

/// Freezes a process: its pages by sharing them (Cow<On>) or by copying (Cow<Off>), and writes its
/// descriptor. What a resumed process has not fetched yet stays with its ancestors: `child` and
/// `ancestry` are its driver and the descriptor that it was resumed from, null for any other.
inline Prepared freeze(const AddressSpace& memory, const AnyChild* child, const Image* ancestry,
                       MachineId machine, HandlerId handler, Generation generation,
                       TargetName target, AuthKey key, bool copy_on_write) {
  Prepared p;
  p.key = key;
  p.generation = generation;
  p.target = target;

  // 1. The pages that are here.
  struct Source {
    PageNumber page;
    std::uint16_t owner;
  };
  std::map<PageNumber, Source> sources;
  for (const auto& [page, content] : memory.pages()) {
    p.pages[page] = copy_on_write ? content : copy_of(content.get());
    sources[page] = {page, 0};
  }
  // 2. The pages that ancestors still hold; what is here counts where both have one.
  if (child != nullptr) {
    child->snapshot([&](PageRange range, std::uint16_t owner, PageNumber source, bool) {
      for (std::uint64_t i = 0; i < range.count; ++i) {
        sources.try_emplace(range.first + i,
                            Source{source + i, static_cast<std::uint16_t>(owner + 1)});
      }
    });
  }
  // 3. The descriptor.
  DescriptorBuilder builder(descriptor::Arch::x86_64, handler, generation);
  builder.add_thread({}, {});
  descriptor::OwnerRecord self = {};
  self.machine = static_cast<std::uint32_t>(machine);
  self.target_number = target.number;
  self.target_key = target.key;
  self.handler = static_cast<std::uint64_t>(handler);
  self.generation = static_cast<std::uint64_t>(generation);
  builder.owners.push_back(self);
  if (ancestry != nullptr) {
    for (const descriptor::OwnerRecord owner : ancestry->view().owners()) {
      builder.owners.push_back(owner);
    }
  }
  for (const auto& [first, pages] : memory.vmas()) {
    descriptor::VmaRecord vma = {};
    vma.start = address(pages.first);
    vma.end = address(pages.end());
    vma.prot = 3;
    vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::anonymous);
    vma.path = descriptor::no_string;
    builder.vmas.push_back(vma);
    bool join = false;
    for (auto at = sources.lower_bound(first); at != sources.lower_bound(pages.end()); ++at) {
      builder.add_run({at->first, 1}, at->second.page, at->second.owner, join);
      join = true;
    }
  }
  p.image = std::make_shared<const Image>(builder.finish());
  return p;
}

}  // namespace mitosis::sim
