// SPDX-License-Identifier: MIT
// make_paged_child: a child of any compiled policy. World: user.
// The one place where the engine is compiled for every policy: include it in one translation unit
// of a program.
#pragma once

#include <mitosis/fork/child.hpp>
#include <mitosis/fork/user/agent/paged_child.hpp>
#include <mitosis/policy/child_axes.hpp>
#include <mitosis/policy/matrix.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace mitosis::agent {

/// P's child. Instantiated for ChildAxes only: the other axes change nothing here.
template <LegalPolicy P>
class PagedChildOf final : public PagedChild {
 public:
  using CacheType = std::conditional_t<P::cached, LocalCache, NoCache>;
  using World = UserPlatform<CacheType>;

  PagedChildOf(World world, std::uint32_t slot, const Deadlines& deadlines)
      : child_(std::move(world), slot, deadlines), deadlines_(deadlines) {}

  Errc load(const DescriptorView& view) override { return child_.load(view); }
  Errc carry(PageRange range) override { return child_.carry(range); }
  void start_eager() override { child_.start_eager(); }
  [[nodiscard]] bool eager() const override { return P::eager; }
  [[nodiscard]] bool all_present() const override { return child_.all_present(); }
  [[nodiscard]] Errc eager_error() const override { return child_.eager_error(); }
  void foresee(WorkingSet& known, Time record_until) override {
    child_.foresee(known, record_until);
  }
  void close() override { child_.close(); }
  [[nodiscard]] bool closed() const override { return child_.closed(); }
  [[nodiscard]] bool idle() const override { return child_.idle(); }
  void on_fault(PageNumber page) override { child_.on_fault(page); }
  void on_removed(PageRange range) override { child_.on_removed(range); }
  void on_unmapped(PageRange range) override { child_.on_unmapped(range); }
  void on_moved(PageRange from, PageNumber to) override { child_.on_moved(from, to); }
  void on_completion(std::uint64_t cookie, Errc status) override {
    child_.on_completion(cookie, status);
  }
  void on_time(Time now) override { child_.on_time(now); }
  [[nodiscard]] Time next_deadline() const override { return child_.next_deadline(); }
  [[nodiscard]] const ChildStats& stats() const override { return child_.stats(); }
  [[nodiscard]] UserMemory& memory() override { return child_.platform().memory(); }
  [[nodiscard]] const std::shared_ptr<const Image>& image() override {
    return child_.platform().image();
  }
  std::unique_ptr<PagedChild> fork(std::uint32_t slot, UserMemory memory) override {
    auto copy = std::make_unique<PagedChildOf>(child_.platform().for_fork(std::move(memory)), slot,
                                               deadlines_);
    // A copy that failed is broken: each of its faults is told to fail, none gets a wrong byte.
    (void)child_.fork_into(copy->child_);
    return copy;
  }
  void snapshot(const Visit& visit) const override {
    child_.engine().snapshot([&](PageRange pages, std::uint16_t owner, PageNumber source,
                                 bool cached) { visit(pages, owner, source, cached); });
  }

  void report(ProfileBook& book) const override {
    if constexpr (P::profiled) {
      const auto add = [&](const char* name, ProfileStep step) {
        book.add(name, child_.profile().of(step));
      };
      add("fault.plan", ProfileStep::plan);
      add("fault.read", ProfileStep::read);
      add("fault.fallback", ProfileStep::fallback);
      add("fault.install", ProfileStep::install);
      add("fault.whole", ProfileStep::fault);
    } else {
      (void)book;
    }
  }

 private:
  Child<P, World> child_;
  Deadlines deadlines_;
};

inline std::unique_ptr<PagedChild> make_paged_child_of_any_policy(PagedChildParts parts) {
  std::unique_ptr<PagedChild> made;
  const auto make = [&]<class P>(std::type_identity<P>) {
    using Kind = PagedChildOf<ChildAxes<P>>;
    static NoCache no_cache;
    auto& cache = [&]() -> typename Kind::CacheType& {
      if constexpr (P::cached) {
        return *parts.cache;
      } else {
        return no_cache;
      }
    }();
    made = std::make_unique<Kind>(
        typename Kind::World(std::move(parts.memory), cache, *parts.waiters, *parts.fabric,
                             *parts.fallback, *parts.landings, std::move(parts.image)),
        parts.slot, parts.deadlines);
  };
  (void)with_policy(parts.policy, make);
  return made;
}

}  // namespace mitosis::agent
