// SPDX-License-Identifier: MIT
// Program: a random program in a child, beside a model of what it must see.
// Accesses and changes overlap as they like; an access that overlaps a change of its page may see
// the page before or after it, nothing else.
#pragma once

#include "world.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::laws {

class Program {
 public:
  Program(World& world, const ProcessPtr& process, bool may_fail)
      : world_(world), may_fail_(may_fail) {
    add(process, {});
    for (const auto& [page, stamp] : world.expected) threads_[0]->pages[page] = {{stamp}, 0, 0};
  }

  /// So many steps, and then every page is read once more.
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step(*threads_[world_.random().below(threads_.size())]);
      world_.cluster().run_for(world_.random().below(40'000));
    }
    world_.run();
    for (const auto& t : threads_) {
      for (const auto& [page, history] : t->pages) read(*t, page);
    }
    world_.run();
    EXPECT_EQ(open_, 0) << "accesses hang";
  }

 private:
  static constexpr std::uint64_t unmapped = ~std::uint64_t{1};

  /// What a page has been: the values from `settled` on are what may be seen now.
  struct History {
    std::vector<std::uint64_t> values;
    std::size_t settled = 0;
    int changing = 0;
  };
  /// One process and its model.
  struct Thread {
    ProcessPtr process;
    std::map<PageNumber, History> pages;
  };

  void add(const ProcessPtr& process, const std::map<PageNumber, History>& pages) {
    threads_.push_back(std::make_unique<Thread>(Thread{process, pages}));
  }

  void step(Thread& t) {
    const std::uint64_t kind = world_.random().below(100);
    const PageRange range = some_range(t);
    if (kind < 55) {
      read(t, range.first);
    } else if (kind < 70) {
      write(t, range.first);
    } else if (kind < 80) {
      remove(t, range);
    } else if (kind < 86) {
      unmap(t, range);
    } else if (kind < 92) {
      move(t, range);
    } else if (kind < 98) {
      t.process->protect(range);
    } else if (threads_.size() < 3) {
      fork(t);
    }
  }

  PageRange some_range(Thread& t) {
    auto at = t.pages.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(world_.random().below(t.pages.size())));
    return {at->first, 1 + world_.random().below(24)};
  }
  /// Whether the model knows every page of the range and nothing else changes one of them.
  static bool quiet(const Thread& t, PageRange range) {
    for (std::uint64_t i = 0; i < range.count; ++i) {
      const auto found = t.pages.find(range.first + i);
      if (found == t.pages.end() || found->second.changing > 0) return false;
    }
    return true;
  }
  void begin(Thread& t, PageNumber page, std::uint64_t value) {
    ++t.pages[page].changing;
    t.pages[page].values.push_back(value);
  }
  static void settle(Thread& t, PageNumber page, bool happened = true) {
    History& h = t.pages[page];
    --h.changing;
    if (happened) h.settled = h.values.size() - 1;
  }

  void read(Thread& t, PageNumber page) {
    const std::size_t from = t.pages[page].settled;
    ++open_;
    t.process->read(page, [this, &t, page, from](Access how, std::uint64_t got) {
      --open_;
      if (how == Access::bus_error) {
        EXPECT_TRUE(may_fail_) << "page " << index(page) << " cannot be had";
        return;
      }
      const std::uint64_t seen = how == Access::ok ? got : unmapped;
      const auto& values = t.pages[page].values;
      const bool allowed = std::find(values.begin() + static_cast<std::ptrdiff_t>(from),
                                     values.end(), seen) != values.end();
      EXPECT_TRUE(allowed) << "page " << index(page) << " reads " << seen;
    });
  }
  void write(Thread& t, PageNumber page) {
    if (!quiet(t, {page, 1}) || t.pages[page].values.back() == unmapped) return;
    begin(t, page, ++stamp_);
    t.process->write(page, stamp_, [&t, page](Access how) {
      settle(t, page, how == Access::ok);
      if (how != Access::ok) {  // it did not happen: the value may no longer be seen
        auto& values = t.pages[page].values;
        values.back() = values[values.size() - 2];
      }
    });
  }
  void remove(Thread& t, PageRange range) {
    if (!quiet(t, range)) return;
    for (std::uint64_t i = 0; i < range.count; ++i) {
      const auto& values = t.pages[range.first + i].values;
      begin(t, range.first + i, values.back() == unmapped ? unmapped : 0);
    }
    t.process->remove(range, [&t, range] {
      for (std::uint64_t i = 0; i < range.count; ++i) settle(t, range.first + i);
    });
  }
  void unmap(Thread& t, PageRange range) {
    if (!quiet(t, range)) return;
    for (std::uint64_t i = 0; i < range.count; ++i) begin(t, range.first + i, unmapped);
    t.process->unmap(range, [&t, range] {
      for (std::uint64_t i = 0; i < range.count; ++i) settle(t, range.first + i);
    });
  }
  /// To a fresh place, or, now and then, onto what was unmapped before.
  void move(Thread& t, PageRange range) {
    const PageNumber to{20'000 + 100 * world_.random().below(4)};
    const PageRange target{to, range.count};
    if (!quiet(t, range) || !intersect(range, target).empty()) return;
    std::vector<std::uint64_t> moved;
    for (std::uint64_t i = 0; i < range.count; ++i) {
      const auto there = t.pages.find(to + i);
      if (there != t.pages.end() && there->second.changing > 0) return;
      const std::uint64_t value = t.pages[range.first + i].values.back();
      if (value == unmapped) return;
      moved.push_back(value);
    }
    for (std::uint64_t i = 0; i < range.count; ++i) {
      begin(t, range.first + i, unmapped);
      History& h = t.pages[to + i];
      if (h.values.empty()) h.values.push_back(unmapped);
      begin(t, to + i, moved[i]);
    }
    t.process->move(range, to, [&t, range, to] {
      for (std::uint64_t i = 0; i < range.count; ++i) {
        settle(t, range.first + i);
        settle(t, to + i);
      }
    });
  }
  void fork(Thread& t) {
    for (const auto& [page, history] : t.pages) {
      if (history.changing > 0) return;
    }
    const ProcessPtr forked = world_.cluster()[1].fork(*t.process);
    world_.adopt(1, forked);
    std::map<PageNumber, History> pages;
    for (const auto& [page, history] : t.pages) pages[page] = {{history.values.back()}, 0, 0};
    add(forked, pages);
  }

  World& world_;
  bool may_fail_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::uint64_t stamp_ = 1'000'000;
  int open_ = 0;
};

}  // namespace mitosis::laws
