// SPDX-License-Identifier: MIT
// On-demand paging: whether a device reads memory that is not pinned. World: user.
#pragma once

#include <infiniband/verbs.h>

namespace mitosis::verbs {

/// Whether peers can read such memory over reliable connections. (Dynamic connections have
/// capabilities of their own, which are not asked for: they get pinned memory.)
[[nodiscard]] inline bool reads_on_demand(const ibv_odp_caps& caps) noexcept {
  return (caps.general_caps & IBV_ODP_SUPPORT) != 0 &&
         (caps.per_transport_caps.rc_odp_caps & IBV_ODP_SUPPORT_READ) != 0;
}
/// The same of an opened device; false where it does not tell.
[[nodiscard]] inline bool reads_on_demand(ibv_context* device) noexcept {
  ibv_device_attr_ex more = {};
  return ::ibv_query_device_ex(device, nullptr, &more) == 0 && reads_on_demand(more.odp_caps);
}

}  // namespace mitosis::verbs
