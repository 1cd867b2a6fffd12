// SPDX-License-Identifier: MIT
// PagedChild: a Child of any policy behind one interface. World: user.
// The policy is chosen at run time by its name; everything below this line is compiled for it.
#pragma once

#include <mitosis/fork/child.hpp>
#include <mitosis/fork/user/agent/user_platform.hpp>
#include <mitosis/policy/child_axes.hpp>

#include <functional>
#include <memory>
#include <utility>

namespace mitosis::agent {

/// One pager thread uses it; see Child for each call.
class PagedChild {
 public:
  virtual ~PagedChild() = default;
  virtual Errc load(const DescriptorView& view) = 0;
  virtual Errc carry(PageRange range) = 0;
  virtual void start_eager() = 0;
  [[nodiscard]] virtual bool eager() const = 0;
  [[nodiscard]] virtual bool all_present() const = 0;
  [[nodiscard]] virtual Errc eager_error() const = 0;
  virtual void close() = 0;
  [[nodiscard]] virtual bool closed() const = 0;
  [[nodiscard]] virtual bool idle() const = 0;
  virtual void on_fault(PageNumber page) = 0;
  virtual void on_removed(PageRange range) = 0;
  virtual void on_unmapped(PageRange range) = 0;
  virtual void on_moved(PageRange from, PageNumber to) = 0;
  virtual void on_completion(std::uint64_t cookie, Errc status) = 0;
  virtual void on_time(Time now) = 0;
  [[nodiscard]] virtual Time next_deadline() const = 0;
  [[nodiscard]] virtual const ChildStats& stats() const = 0;
  [[nodiscard]] virtual UserMemory& memory() = 0;
  [[nodiscard]] virtual const std::shared_ptr<const Image>& image() = 0;
  /// The child of a process that this one has just forked.
  virtual std::unique_ptr<PagedChild> fork(std::uint32_t slot, UserMemory memory) = 0;
  /// (pages, owner, the owner's pages, cached): what ancestors hold.
  using Visit = std::function<void(PageRange, std::uint16_t, PageNumber, bool)>;
  virtual void snapshot(const Visit& visit) const = 0;
};

/// P's child over a fabric. Instantiated for ChildAxes only: the other axes change nothing here.
template <LegalPolicy P, Fabric FabricType>
class PagedChildOf final : public PagedChild {
 public:
  using CacheType = std::conditional_t<P::cached, LocalCache, NoCache>;
  using World = UserPlatform<FabricType, CacheType>;

  PagedChildOf(World world, std::uint32_t slot, const Deadlines& deadlines)
      : child_(std::move(world), slot, deadlines), deadlines_(deadlines) {}

  Errc load(const DescriptorView& view) override { return child_.load(view); }
  Errc carry(PageRange range) override { return child_.carry(range); }
  void start_eager() override { child_.start_eager(); }
  [[nodiscard]] bool eager() const override { return P::eager; }
  [[nodiscard]] bool all_present() const override { return child_.all_present(); }
  [[nodiscard]] Errc eager_error() const override { return child_.eager_error(); }
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

 private:
  Child<P, World> child_;
  Deadlines deadlines_;
};

}  // namespace mitosis::agent
