// SPDX-License-Identifier: MIT
// ChildAxes<P>: the part of a policy that a child's pager depends on. World: any (freestanding).
// How bytes travel and how prepare froze them is behind the Fabric and the owner's agent; code
// that is a template over ChildAxes<P> is instantiated a quarter as often as over P.
#pragma once

#include <mitosis/policy/policy.hpp>

namespace mitosis {

/// P with its transport and cow set to their defaults; a canonical policy. Every prefetch that is
/// legal stays legal, because RC has the longer send queue.
template <LegalPolicy P>
using ChildAxes = PolicyOf<RC, typename P::fetch, typename P::cache, On, typename P::profile>;

static_assert(RC::send_queue >= DCT::send_queue);

}  // namespace mitosis
