// SPDX-License-Identifier: MIT
// What the engine's unit tests have in common: a descriptor of a few runs, a heap that fails on
// request, a cache that is an array of states.
#pragma once

#include <mitosis/fork/engine.hpp>
#include <mitosis/fork/no_cache.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

namespace mitosis::test {

/// malloc, until it is told to fail.
struct FragileHeap {
  static inline bool failing = false;
  void* allocate(std::size_t bytes) noexcept { return failing ? nullptr : std::malloc(bytes); }
  void deallocate(void* memory, std::size_t) noexcept { std::free(memory); }
};

constexpr PageNumber page(std::uint64_t n) {
  return PageNumber{n};
}

/// A descriptor: VMA [100, 400) with runs [100, 150) and [160, 400) of owner 0, of which the pages
/// from 200 on lie at 5000 of owner 1; VMA [400, 420), whole.
class Scene {
 public:
  Scene() {
    DescriptorBuilder b(descriptor::Arch::x86_64, HandlerId{1}, Generation{1});
    b.add_thread({}, {});
    for (std::uint32_t machine = 0; machine < 2; ++machine) {
      descriptor::OwnerRecord owner = {};
      owner.machine = machine;
      b.owners.push_back(owner);
    }
    for (const PageRange pages : {PageRange{page(100), 300}, PageRange{page(400), 20}}) {
      descriptor::VmaRecord vma = {};
      vma.start = address(pages.first);
      vma.end = address(pages.end());
      vma.prot = 3;
      vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::anonymous);
      vma.path = descriptor::no_string;
      b.vmas.push_back(vma);
    }
    b.add_run({page(100), 50}, page(100), 0);
    b.add_run({page(160), 40}, page(160), 0);
    b.add_run({page(200), 200}, page(5000), 1);
    b.add_run({page(400), 20}, page(400), 0, false);
    bytes_ = b.finish();
    view_ = std::make_unique<Result<DescriptorView>>(DescriptorView::parse(Bytes(bytes_)));
    EXPECT_TRUE(view_->ok());
  }
  [[nodiscard]] const DescriptorView& view() const { return view_->value(); }

 private:
  std::vector<std::uint8_t> bytes_;
  std::unique_ptr<Result<DescriptorView>> view_;
};

/// Models PageCache; `memory` is never touched, only handed out.
struct Shelf {
  std::map<PageNumber, CacheState> states;
  bool full = false;
  std::uint8_t memory[1] = {};

  CacheState state(PageNumber key) noexcept {
    const auto found = states.find(key);
    return found == states.end() ? CacheState::absent : found->second;
  }
  void set(PageRange keys, CacheState state) {
    for (std::uint64_t i = 0; i < keys.count; ++i) states[keys.first + i] = state;
  }
  void begin_fill(PageRange keys) noexcept { set(keys, CacheState::filling); }
  void end_fill(PageRange keys, bool ok) noexcept {
    set(keys, ok ? CacheState::present : CacheState::absent);
  }
  LocalMemory slot(PageRange) noexcept { return full ? LocalMemory{} : LocalMemory{memory, 0}; }
};
static_assert(PageCache<Shelf>);

/// An engine with its scene loaded.
template <LegalPolicy P>
struct Loaded {
  Scene scene;
  Shelf shelf;
  NoCache no_cache;
  Plan plan;
  Engine<P, FragileHeap> engine{FragileHeap{}};

  Loaded() { EXPECT_EQ(engine.load(scene.view()), Errc::ok); }
  const Plan& fault(std::uint64_t n) {
    engine.on_fault(page(n), shelf, plan);
    return plan;
  }
  /// A read has come back well: installs all that is still wanted; returns how many pages.
  std::uint64_t complete(OpId id) {
    EXPECT_EQ(engine.on_read(id, Errc::ok), Verdict::install);
    std::uint64_t pages = 0;
    PageNumber from = engine.op(id).pages.first;
    while (const auto piece = engine.next_install(id, from)) {
      pages += piece->count;
      from = piece->end();
      engine.on_installed(*piece);
    }
    EXPECT_FALSE(engine.finish(id));
    return pages;
  }
};

}  // namespace mitosis::test
