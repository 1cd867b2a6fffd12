// SPDX-License-Identifier: MIT
// MITOSIS_KERNEL_MODULE: a kernel module out of one policy. World: kernel.
// The only macro of the headers: what the shim calls are C functions, which are no templates.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/image.hpp>
#include <mitosis/fork/kernel/pager.hpp>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/policy.hpp>

namespace mitosis::kernel {

// The kernel's numbers.
inline constexpr int errno_io = 5, errno_no_memory = 12, errno_invalid = 22;

/// What a module does, for one policy. Contracts: boundary.h.
template <LegalPolicy P>
struct Module {
  static_assert(!P::dct,
                "use Transport<RC> in a kernel module: a stock kernel's verbs have no DCT");
  static_assert(!P::cached, "use Cache<None> in a kernel module: its cache is not built yet");
  static_assert(!P::eager,
                "use Fetch<OnDemand> or Fetch<Prefetch<N>> in a kernel module: an eager start is "
                "not built yet");

  static_assert(P::copy_on_write,
                "use Cow<On> in a kernel module: a prepare that copies is not built yet");
  static_assert(!P::profiled,
                "use Profile<Off> in a kernel module: nothing shows a profile there yet");

  static constexpr PolicyText name = format(name_of<P>);

  static mitosis_u64 encode_image(const mitosis_image* image, mitosis_u64 handler,
                                  mitosis_u64 generation, void* into, mitosis_u64 room) noexcept {
    return encode(*image, HandlerId{handler}, Generation{generation},
                  MutableBytes(static_cast<std::uint8_t*>(into), room));
  }
  static int decode_image(const void* bytes, mitosis_u64 size, mitosis_image* image) noexcept {
    const auto view = DescriptorView::parse(Bytes(static_cast<const std::uint8_t*>(bytes), size));
    const Errc result = view ? decode(*view, *image) : view.code();
    if (result == Errc::out_of_memory) return -errno_no_memory;
    return result == Errc::ok ? 0 : -errno_invalid;
  }
  static void* open(const void* bytes, mitosis_u64 size, mitosis_child* child) noexcept {
    auto* pager = make<Pager<P>>(child);
    if (pager == nullptr) return nullptr;
    if (pager->load(Bytes(static_cast<const std::uint8_t*>(bytes), size)) == Errc::ok) return pager;
    destroy(pager);
    return nullptr;
  }
  static void* fork(void* core, mitosis_child* child) noexcept {
    auto* copy = make<Pager<P>>(child);
    if (copy == nullptr || as_pager(core).fork_into(*copy) == Errc::ok) return copy;
    destroy(copy);
    return nullptr;
  }
  static void close(void* core) noexcept { destroy(static_cast<Pager<P>*>(core)); }
  static int fault(void* core, mitosis_u64 page) noexcept {
    switch (as_pager(core).fault(PageNumber{page})) {
      case Pager<P>::Served::in_place:
        return 0;
      case Pager<P>::Served::no_memory:
        return -errno_no_memory;
      case Pager<P>::Served::unavailable:
        break;
    }
    return -errno_io;
  }
  static void removed(void* core, mitosis_u64 page, mitosis_u64 count) noexcept {
    as_pager(core).removed({PageNumber{page}, count});
  }
  static mitosis_u64 missing(void* core, mitosis_u64 page, mitosis_u64* first) noexcept {
    const PageRange found = as_pager(core).missing(PageNumber{page});
    *first = static_cast<mitosis_u64>(found.first);
    return found.count;
  }

 private:
  static Pager<P>& as_pager(void* core) noexcept { return *static_cast<Pager<P>*>(core); }
};

}  // namespace mitosis::kernel

/// Defines what the shim calls. Once in a module, in its only C++ file, as the last line.
#define MITOSIS_KERNEL_MODULE(...)                                                        \
  using namespace mitosis; /* the policy's words */                                       \
  using MitosisModule = mitosis::kernel::Module<__VA_ARGS__>;                             \
  extern "C" {                                                                            \
  const char* mitosis_core_policy() {                                                     \
    static constexpr auto name = MitosisModule::name;                                     \
    return name.c_str();                                                                  \
  }                                                                                       \
  mitosis_u64 mitosis_core_encode(const mitosis_image* image, mitosis_u64 handler,        \
                                  mitosis_u64 generation, void* into, mitosis_u64 room) { \
    return MitosisModule::encode_image(image, handler, generation, into, room);           \
  }                                                                                       \
  int mitosis_core_decode(const void* bytes, mitosis_u64 size, mitosis_image* image) {    \
    return MitosisModule::decode_image(bytes, size, image);                               \
  }                                                                                       \
  void* mitosis_core_open(const void* bytes, mitosis_u64 size, mitosis_child* child) {    \
    return MitosisModule::open(bytes, size, child);                                       \
  }                                                                                       \
  void* mitosis_core_fork(void* core, mitosis_child* copy) {                              \
    return MitosisModule::fork(core, copy);                                               \
  }                                                                                       \
  void mitosis_core_close(void* core) {                                                   \
    MitosisModule::close(core);                                                           \
  }                                                                                       \
  int mitosis_core_fault(void* core, mitosis_u64 page) {                                  \
    return MitosisModule::fault(core, page);                                              \
  }                                                                                       \
  void mitosis_core_removed(void* core, mitosis_u64 page, mitosis_u64 count) {            \
    MitosisModule::removed(core, page, count);                                            \
  }                                                                                       \
  mitosis_u64 mitosis_core_missing(void* core, mitosis_u64 page, mitosis_u64* first) {    \
    return MitosisModule::missing(core, page, first);                                     \
  }                                                                                       \
  }                                                                                       \
  static_assert(true)
