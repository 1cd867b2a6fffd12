// SPDX-License-Identifier: MIT
// AnyChild: a child's driver of any policy; RunPolicy: a policy chosen at run time. World: sim.
#pragma once

#include <mitosis/fork/child.hpp>
#include <mitosis/fork/sim/platform.hpp>
#include <mitosis/policy/child_axes.hpp>
#include <mitosis/policy/name.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace mitosis::sim {

/// See Child for each call.
class AnyChild {
 public:
  virtual ~AnyChild() = default;
  virtual Errc load(const DescriptorView& view) = 0;
  virtual void start_eager() = 0;
  virtual bool all_present() const = 0;
  virtual Errc eager_error() const = 0;
  virtual void close() = 0;
  virtual bool idle() const = 0;
  virtual void on_fault(PageNumber page) = 0;
  virtual void on_removed(PageRange range) = 0;
  virtual void on_unmapped(PageRange range) = 0;
  virtual void on_moved(PageRange from, PageNumber to) = 0;
  virtual Errc fork_into(AnyChild& copy) = 0;
  virtual void on_completion(std::uint64_t cookie, Errc status) = 0;
  virtual void on_time(Time now) = 0;
  virtual Time next_deadline() const = 0;
  virtual const ChildStats& stats() const = 0;
  using Visit = std::function<void(PageRange, std::uint16_t, PageNumber, bool)>;
  virtual void snapshot(const Visit& visit) const = 0;
};

template <LegalPolicy P>
class AnyChildOf final : public AnyChild {
 public:
  AnyChildOf(SimPlatform platform, std::uint32_t slot, const Deadlines& deadlines)
      : child_(std::move(platform), slot, deadlines) {}
  Errc load(const DescriptorView& view) override { return child_.load(view); }
  void start_eager() override { child_.start_eager(); }
  bool all_present() const override { return child_.all_present(); }
  Errc eager_error() const override { return child_.eager_error(); }
  void close() override { child_.close(); }
  bool idle() const override { return child_.idle(); }
  void on_fault(PageNumber page) override { child_.on_fault(page); }
  void on_removed(PageRange range) override { child_.on_removed(range); }
  void on_unmapped(PageRange range) override { child_.on_unmapped(range); }
  void on_moved(PageRange from, PageNumber to) override { child_.on_moved(from, to); }
  Errc fork_into(AnyChild& copy) override {
    return child_.fork_into(static_cast<AnyChildOf&>(copy).child_);
  }
  void on_completion(std::uint64_t cookie, Errc status) override {
    child_.on_completion(cookie, status);
  }
  void on_time(Time now) override { child_.on_time(now); }
  Time next_deadline() const override { return child_.next_deadline(); }
  const ChildStats& stats() const override { return child_.stats(); }
  void snapshot(const Visit& visit) const override { child_.engine().snapshot(visit); }

 private:
  Child<P, SimPlatform> child_;
};

/// A compiled policy: its name, and how a child's driver is made for it.
struct RunPolicy {
  PolicyName name;
  std::unique_ptr<AnyChild> (*make)(SimPlatform, std::uint32_t slot, const Deadlines&) = nullptr;

  [[nodiscard]] bool eager() const noexcept { return name.fetch == FetchKind::eager; }
};

/// The driver is compiled once for all transports and cows.
template <LegalPolicy P>
RunPolicy run_policy() {
  return {name_of<P>,
          [](SimPlatform platform, std::uint32_t slot,
             const Deadlines& deadlines) -> std::unique_ptr<AnyChild> {
            return std::make_unique<AnyChildOf<ChildAxes<P>>>(std::move(platform), slot, deadlines);
          }};
}

}  // namespace mitosis::sim
