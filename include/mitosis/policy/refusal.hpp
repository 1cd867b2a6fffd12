// SPDX-License-Identifier: MIT
// refusal: the error for a policy name that no compiled combination has. World: any (freestanding).
// It says what there is instead; a list of a hundred names would not help, so it lists by axis.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/policy/name.hpp>

#include <cstddef>

namespace mitosis {

/// The most pages that a prefetch may have over this transport.
constexpr unsigned prefetch_limit(TransportKind transport) noexcept {
  return (transport == TransportKind::dct ? DCT::send_queue : RC::send_queue) - 1;
}

namespace detail {

using Subject = decltype(Error::subject);

/// Appends `word` when any of the names satisfies the predicate.
template <class Has>
constexpr void append_if_any(Subject& subject, Span<const PolicyName> names, const char* word,
                             Has has) noexcept {
  for (const PolicyName& name : names) {
    if (has(name)) {
      subject.append(" ").append(word);
      return;
    }
  }
}

/// Appends " prefetch1,8,32": each number once, in the order of the names.
constexpr void append_prefetches(Subject& subject, Span<const PolicyName> names) noexcept {
  bool first = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    bool seen = names[i].fetch != FetchKind::prefetch;
    for (std::size_t j = 0; j < i && !seen; ++j) seen = names[j].prefetch == names[i].prefetch;
    if (seen) continue;
    subject.append(first ? " prefetch" : ",");
    append_number(subject, names[i].prefetch);
    first = false;
  }
}

constexpr void append_by_axis(Subject& subject, Span<const PolicyName> names) noexcept {
  const auto any = [&](const char* word, auto has) { append_if_any(subject, names, word, has); };
  any("rc", [](PolicyName n) { return n.transport == TransportKind::rc; });
  any("dct", [](PolicyName n) { return n.transport == TransportKind::dct; });
  subject.append(" |");
  any("ondemand", [](PolicyName n) { return n.fetch == FetchKind::on_demand; });
  append_prefetches(subject, names);
  any("eager", [](PolicyName n) { return n.fetch == FetchKind::eager; });
  subject.append(" |");
  any("none", [](PolicyName n) { return n.cache == CacheKind::none; });
  any("local", [](PolicyName n) { return n.cache == CacheKind::local; });
  subject.append(" |");
  any("cow", [](PolicyName n) { return n.cow; });
  any("copy", [](PolicyName n) { return !n.cow; });
  subject.append(" |");
  any("noprofile", [](PolicyName n) { return !n.profile; });
  any("profile", [](PolicyName n) { return n.profile; });
}

}  // namespace detail

/// policy_not_compiled for `wanted`. The subject names it, and then: the transport's limit where
/// no program could compile it, up to three names, or the words that there are, axis by axis.
constexpr Error refusal(PolicyName wanted, Span<const PolicyName> compiled) noexcept {
  Error error(Errc::policy_not_compiled, format(wanted).c_str());
  detail::Subject& subject = error.subject;
  if (wanted.fetch == FetchKind::prefetch && wanted.prefetch > prefetch_limit(wanted.transport)) {
    subject.append(wanted.transport == TransportKind::dct ? "; dct" : "; rc");
    subject.append(" takes at most prefetch");
    detail::append_number(subject, prefetch_limit(wanted.transport));
    return error;
  }
  if (compiled.size() <= 3) {
    subject.append("; there is");
    for (const PolicyName& name : compiled) subject.append(" ").append(format(name).c_str());
  } else {
    subject.append("; there are combinations of:");
    detail::append_by_axis(subject, compiled);
  }
  return error;
}

}  // namespace mitosis
