// SPDX-License-Identifier: MIT
// The layout of a descriptor, as the cache and the pager need it. World: user.
#pragma once

#include <mitosis/fork/user/agent/image.hpp>
#include <mitosis/fork/user/agent/user_memory.hpp>
#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/mem/cache_registry.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// Every place that fetched pages may have in the cache's memfd.
inline Result<CachePlaces> places_of(const std::vector<restore::Mapping>& mappings) {
  std::vector<CachePlace> places;
  for (const restore::Mapping& m : mappings) {
    if (m.cache_page != restore::no_cache_page) places.push_back({m.pages(), m.cache_page});
  }
  return CachePlaces::of(std::move(places));
}

inline MemfdRanges memfd_ranges(const std::vector<restore::Mapping>& mappings) {
  MemfdRanges ranges;
  for (const restore::Mapping& m : mappings) {
    if (m.kind == restore::MappingKind::cache) ranges.push_back(m.pages());
  }
  return ranges;
}

/// The cache of an image's children, made where there is none.
inline Result<std::shared_ptr<LocalCache>> cache_for(CacheRegistry& caches, const Image& image) {
  const restore::LayoutOptions layout_options{.cache_local = true, .carried = {}};
  auto mappings = restore::layout(image.view(), layout_options);
  if (!mappings) return mappings.error();
  auto places = places_of(*mappings);
  if (!places) return places.error();
  const ImageName& name = image.name();
  return caches.acquire({name.machine, name.handler, name.generation}, *places,
                        static_cast<std::uint64_t>(tcp::monotonic_now()));
}

}  // namespace mitosis::agent
