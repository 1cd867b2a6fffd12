// SPDX-License-Identifier: MIT
// VerbsFabric<DCT>: reads by dynamic connections of mlx5 devices. World: user; links with libmlx5.
// It has never run on such a device; the same templates run on devices of memory in the tests.
#pragma once

#include <mitosis/net/verbs/dct/dct_reads.hpp>
#include <mitosis/net/verbs/dct/mlx5_device.hpp>
#include <mitosis/net/verbs/fabric.hpp>

namespace mitosis::verbs {

template <>
struct ReadsOf<DCT> {
  using type = DctReads<Mlx5Device>;
};
static_assert(Reads<DctReads<Mlx5Device>>);

}  // namespace mitosis::verbs

namespace mitosis {

static_assert(Fabric<VerbsFabric<DCT>>);

}  // namespace mitosis
