// SPDX-License-Identifier: MIT
// What a kernel module does with bytes from outside: a policy's name, a descriptor. Compiled with
// the kernel's flags by freestanding.py, which then checks what the object needs. World: any.
#include <mitosis/base/result.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/policy/child_axes.hpp>
#include <mitosis/policy/list.hpp>
#include <mitosis/policy/parse.hpp>

namespace mitosis {

// The combinations of a module that carries two.
using Compiled = PolicyList<Policy<Transport<DCT>, Cache<Local>>, Policy<Fetch<OnDemand>>>;

/// A name from user space to the compiled combination's prefetch; the error's code where it is
/// none.
int prefetch_of(const char* text, std::size_t size) noexcept {
  const Result<PolicyName> name = parse_policy(text, size);
  if (!name) return -static_cast<int>(name.code());
  const Result<unsigned> pages = Compiled::dispatch(
      *name, [](auto policy) { return ChildAxes<typename decltype(policy)::type>::prefetch; });
  return pages ? static_cast<int>(*pages) : -static_cast<int>(pages.code());
}

/// A descriptor from the network, to its number of VMAs.
int vmas_of(const std::uint8_t* bytes, std::size_t size) noexcept {
  const Result<DescriptorView> view = DescriptorView::parse(Bytes(bytes, size));
  if (!view) return -static_cast<int>(view.code());
  return static_cast<int>(view->vmas().size());
}

}  // namespace mitosis
