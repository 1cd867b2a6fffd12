// SPDX-License-Identifier: MIT
// MITOSIS_KERNEL_MODULE: a kernel module out of one policy. World: kernel.
// The only macro of the headers: what the shim calls are C functions, which are no templates.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/agent_core.hpp>
#include <mitosis/fork/kernel/errno.hpp>
#include <mitosis/fork/kernel/image.hpp>
#include <mitosis/fork/kernel/pager.hpp>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/policy.hpp>

namespace mitosis::kernel {

/// What a module does, for one policy. Contracts: boundary.h.
template <LegalPolicy P>
struct Module {
  static_assert(!P::dct,
                "use Transport<RC> in a kernel module: a stock kernel's verbs have no DCT");

  using policy = P;
  static constexpr PolicyText name = format(name_of<P>);

  static mitosis_u64 encode_image(const mitosis_image* image, const mitosis_parent_name* identity,
                                  void* into, mitosis_u64 room) noexcept {
    return encode(*image, *identity, MutableBytes(static_cast<std::uint8_t*>(into), room));
  }
  static int decode_image(const void* bytes, mitosis_u64 size, mitosis_image* image) noexcept {
    const auto view = DescriptorView::parse(Bytes(static_cast<const std::uint8_t*>(bytes), size));
    return errno_of(view ? decode(*view, *image) : view.code());
  }
  static int name_of_image(const void* bytes, mitosis_u64 size, mitosis_name* into) noexcept {
    const auto view = DescriptorView::parse(Bytes(static_cast<const std::uint8_t*>(bytes), size));
    if (!view || view->owners().size() == 0) return -errno_invalid;
    const descriptor::OwnerRecord owner = view->owners()[0];
    *into = {owner.machine, owner.handler, owner.generation};
    return 0;
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
    return number_of(as_pager(core).fault(PageNumber{page}));
  }
  static int bring_all(void* core) noexcept { return number_of(as_pager(core).bring_all()); }
  static void profile(const void* core, mitosis_profile* into) noexcept {
    static_cast<const Pager<P>*>(core)->add_profile(*into);
  }
  static void count(const void* core, mitosis_brought* into) noexcept {
    static_cast<const Pager<P>*>(core)->add_counts(*into);
  }
  static void removed(void* core, mitosis_u64 page, mitosis_u64 count) noexcept {
    as_pager(core).removed({PageNumber{page}, count});
  }
  static mitosis_u64 missing(void* core, mitosis_u64 page, mitosis_u64* first) noexcept {
    const PageRange found = as_pager(core).missing(PageNumber{page});
    *first = static_cast<mitosis_u64>(found.first);
    return found.count;
  }
  static mitosis_u64 held(void* core, mitosis_held* into, mitosis_u64 room) noexcept {
    return as_pager(core).held(into, room);
  }

 private:
  static int number_of(typename Pager<P>::Served served) noexcept {
    switch (served) {
      case Pager<P>::Served::in_place:
        return 0;
      case Pager<P>::Served::no_memory:
        return -errno_no_memory;
      case Pager<P>::Served::unavailable:
        break;
    }
    return -errno_io;
  }
  static Pager<P>& as_pager(void* core) noexcept { return *static_cast<Pager<P>*>(core); }
};

}  // namespace mitosis::kernel

/// Defines what the shim calls. Once in a module, in its only C++ file, as the last line.
#define MITOSIS_KERNEL_MODULE(...)                                                                 \
  using namespace mitosis; /* the policy's words */                                                \
  using MitosisModule = mitosis::kernel::Module<__VA_ARGS__>;                                      \
  extern "C" {                                                                                     \
  const char* mitosis_core_policy() {                                                              \
    static constexpr auto name = MitosisModule::name;                                              \
    return name.c_str();                                                                           \
  }                                                                                                \
  int mitosis_core_copies() {                                                                      \
    return !MitosisModule::policy::copy_on_write;                                                  \
  }                                                                                                \
  int mitosis_core_cached() {                                                                      \
    return MitosisModule::policy::cached;                                                          \
  }                                                                                                \
  int mitosis_core_name(const void* bytes, mitosis_u64 size, mitosis_name* name) {                 \
    return MitosisModule::name_of_image(bytes, size, name);                                        \
  }                                                                                                \
  int mitosis_core_eager() {                                                                       \
    return MitosisModule::policy::eager;                                                           \
  }                                                                                                \
  int mitosis_core_profiled() {                                                                    \
    return MitosisModule::policy::profiled;                                                        \
  }                                                                                                \
  int mitosis_core_bring_all(void* core) {                                                         \
    return MitosisModule::bring_all(core);                                                         \
  }                                                                                                \
  void mitosis_core_count(const void* core, mitosis_brought* into) {                               \
    MitosisModule::count(core, into);                                                              \
  }                                                                                                \
  void mitosis_core_profile(const void* core, mitosis_profile* into) {                             \
    MitosisModule::profile(core, into);                                                            \
  }                                                                                                \
  mitosis_u64 mitosis_core_encode(const mitosis_image* image, const mitosis_parent_name* identity, \
                                  void* into, mitosis_u64 room) {                                  \
    return MitosisModule::encode_image(image, identity, into, room);                               \
  }                                                                                                \
  int mitosis_core_decode(const void* bytes, mitosis_u64 size, mitosis_image* image) {             \
    return MitosisModule::decode_image(bytes, size, image);                                        \
  }                                                                                                \
  void* mitosis_core_open(const void* bytes, mitosis_u64 size, mitosis_child* child) {             \
    return MitosisModule::open(bytes, size, child);                                                \
  }                                                                                                \
  void* mitosis_core_fork(void* core, mitosis_child* copy) {                                       \
    return MitosisModule::fork(core, copy);                                                        \
  }                                                                                                \
  void mitosis_core_close(void* core) {                                                            \
    MitosisModule::close(core);                                                                    \
  }                                                                                                \
  int mitosis_core_fault(void* core, mitosis_u64 page) {                                           \
    return MitosisModule::fault(core, page);                                                       \
  }                                                                                                \
  void mitosis_core_removed(void* core, mitosis_u64 page, mitosis_u64 count) {                     \
    MitosisModule::removed(core, page, count);                                                     \
  }                                                                                                \
  mitosis_u64 mitosis_core_missing(void* core, mitosis_u64 page, mitosis_u64* first) {             \
    return MitosisModule::missing(core, page, first);                                              \
  }                                                                                                \
  mitosis_u64 mitosis_core_held(void* core, mitosis_held* into, mitosis_u64 room) {                \
    return MitosisModule::held(core, into, room);                                                  \
  }                                                                                                \
  }                                                                                                \
  static_assert(true)
