// SPDX-License-Identifier: MIT
// The engine as a kernel module instantiates it, on an allocator without malloc. Compiled with the
// kernel's flags by freestanding.py, which then checks what the object needs. World: any.
#include <mitosis/fork/engine.hpp>
#include <mitosis/fork/no_cache.hpp>

namespace mitosis {

/// Hands out one piece of memory front to back and takes nothing back.
class Arena {
 public:
  explicit Arena(MutableBytes memory) noexcept : next_(memory.data()), left_(memory.size()) {}
  void* allocate(std::size_t bytes) noexcept {
    const std::size_t rounded = (bytes + 15) & ~std::size_t{15};
    if (rounded < bytes || rounded > left_) return nullptr;
    void* memory = next_;
    next_ += rounded;
    left_ -= rounded;
    return memory;
  }
  void deallocate(void*, std::size_t) noexcept {}

 private:
  std::uint8_t* next_;
  std::size_t left_;
};
static_assert(Allocator<Arena>);

/// Calls every member once; what it computes is of no interest, only what the object needs.
template <class P>
Errc drive(Bytes bytes, MutableBytes memory, PageNumber page) noexcept {
  const auto view = DescriptorView::parse(bytes);
  if (!view) return view.code();
  Engine<P, Arena> engine{Arena(memory)};
  Engine<P, Arena> copy{Arena(memory)};
  NoCache cache;
  Plan plan;
  if (const Errc loaded = engine.load(*view); loaded != Errc::ok) return loaded;
  if (const Errc forked = engine.fork_into(copy); forked != Errc::ok) return forked;
  engine.on_fault(page, cache, plan);
  engine.read_ahead(cache, plan);
  WorkingSet known;
  known.add({page, 1});
  Foreseen foreseen(known);
  engine.next_foreseen(foreseen, cache, plan);
  engine.next_eager(cache, plan);
  engine.look_again();
  (void)engine.carry({page, 1});
  (void)engine.on_read(0, Errc::timed_out);
  (void)engine.next_install(0, page);
  engine.on_mapped({page, 1}, page);
  engine.on_installed({page, 1});
  (void)engine.finish(0);
  engine.on_moved({page, 1}, page + 1);
  engine.on_removed({page, 1});
  engine.on_unmapped({page, 1});
  engine.snapshot([](PageRange, std::uint16_t, PageNumber, bool) {});
  return engine.all_present() ? Errc::ok : engine.broken();
}

template Errc drive<Policy<Fetch<OnDemand>>>(Bytes, MutableBytes, PageNumber) noexcept;
template Errc drive<Policy<Cache<Local>>>(Bytes, MutableBytes, PageNumber) noexcept;
template Errc drive<Policy<Fetch<Eager>, Cache<Local>>>(Bytes, MutableBytes, PageNumber) noexcept;
template Errc drive<Policy<Transport<DCT>, Fetch<Prefetch<127>>, Profile<On>>>(Bytes, MutableBytes,
                                                                               PageNumber) noexcept;

}  // namespace mitosis
