// SPDX-License-Identifier: MIT
// PagedChild: a Child of any policy behind one interface. World: user.
// The policy is chosen at run time by its name.
#pragma once

#include <mitosis/fork/child/cookie.hpp>
#include <mitosis/fork/child/deadlines.hpp>
#include <mitosis/fork/child/stats.hpp>
#include <mitosis/fork/profile.hpp>
#include <mitosis/fork/user/agent/profile_book.hpp>
#include <mitosis/fork/user/agent/user_platform.hpp>
#include <mitosis/fork/working_set.hpp>
#include <mitosis/mem/page_cache.hpp>
#include <mitosis/policy/name.hpp>

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
  virtual void foresee(WorkingSet& known, Time record_until) = 0;
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
  /// Adds what a profiled policy has recorded.
  virtual void report(ProfileBook& book) const = 0;
};

/// What a child is made from; everything but `memory` is its pager's and outlives it.
struct PagedChildParts {
  PolicyName policy;
  std::uint32_t slot = 0;  ///< what its cookies begin with
  Deadlines deadlines;
  UserMemory memory;
  LocalCache* cache = nullptr;  ///< with Cache<Local>
  CacheWaiters* waiters = nullptr;
  PagerFabric* fabric = nullptr;
  FallbackReader* fallback = nullptr;
  LandingPool* landings = nullptr;
  std::shared_ptr<const Image> image;
};

/// A child of the policy that `parts.policy` names; null where it is not compiled in. Defined in
/// paged_child_factory.hpp, which one translation unit of the program includes: all policies are
/// compiled there, and nowhere else.
std::unique_ptr<PagedChild> make_paged_child(PagedChildParts parts);

}  // namespace mitosis::agent
