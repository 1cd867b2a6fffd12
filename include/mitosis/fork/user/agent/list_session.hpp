// SPDX-License-Identifier: MIT
// Session: what `ps` and `stats` show. World: user. Included by session.hpp only.
#pragma once

#include <nlohmann/json.hpp>

#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

namespace mitosis::agent {

namespace detail {

inline std::string process_name(std::uint32_t pid) {
  char path[32], name[32] = {};
  std::snprintf(path, sizeof path, "/proc/%u/comm", pid);
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t n = file ? ::read(file.get(), name, sizeof name - 1) : 0;
  return n > 1 ? std::string(name, static_cast<std::size_t>(n - 1)) : std::string("-");
}

/// The program's as of prepare, by the descriptor: its process is gone.
inline std::string name_as_prepared(const Parent& parent) {
  if (parent.descriptor == nullptr) return "-";
  const auto view = DescriptorView::parse(Bytes(*parent.descriptor));
  if (!view) return "-";
  for (const descriptor::ThreadRecord thread : view->threads()) {  // the first one is the main one
    return std::string(thread.name, ::strnlen(thread.name, sizeof thread.name));
  }
  return "-";
}

inline local::ListRow row_of(const Parent& parent, const TargetTable& targets) {
  local::ListRow row;
  row.kind = local::RowKind::parent;
  row.pid = parent.pid;
  row.handler = parent.handler;
  row.generation = parent.generation;
  row.policy = parent.policy;
  row.state = parent.state == Parent::State::ready    ? "ready"
              : parent.state == Parent::State::failed ? "failed"
                                                      : "capturing";
  row.name = has_ended(parent.parent_pidfd.get())  // then another process may have its number
                 ? name_as_prepared(parent)
                 : process_name(static_cast<std::uint32_t>(parent.pid));
  row.owner_uid = parent.uid;
  row.pages_total = parent.pages;
  if (const auto usage = targets.usage(parent.target.number)) {
    row.pages_fetched = usage->bytes >> page_shift;
    row.bytes = usage->bytes;
  }
  row.age_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - parent.prepared)
          .count());
  return row;
}

inline local::ListRow row_of(const ChildSlot& slot) {
  local::ListRow row;
  row.kind = local::RowKind::child;
  row.pid = static_cast<std::int32_t>(slot.pid);
  row.handler = slot.listed_as;
  row.machine = slot.machine;
  row.generation = slot.generation;
  row.policy = slot.policy;
  row.state = slot.pid == 0 ? "forked" : "running";
  row.name = slot.pid == 0 ? "-" : process_name(slot.pid);
  row.owner_uid = slot.uid;
  row.pages_total = slot.pages_total.load();
  row.pages_fetched = slot.pages_fetched.load();
  row.bytes = slot.bytes_fetched.load();
  row.age_ms = (static_cast<std::uint64_t>(tcp::monotonic_now()) - slot.started_ns) / 1'000'000;
  return row;
}

}  // namespace detail

inline Result<void> Session::list(const local::Packet& packet) {
  auto message = local::decode_packet<local::List>(Bytes(packet.bytes));
  if (!message) return message.error();
  const std::uint32_t uid = packet.sender.uid;
  constexpr std::size_t rows_a_packet = 256;
  local::Listing listing;
  std::uint32_t to_skip = message->skip;
  const auto add = [&](std::uint32_t owner, auto make) {
    if ((uid != 0 && uid != owner) || listing.more) return;
    if (to_skip > 0) {
      --to_skip;
    } else if (listing.rows.size() == rows_a_packet) {
      listing.more = true;
    } else {
      listing.rows.push_back(make());
    }
  };
  const auto parents = worker_.parents.list();
  for (const auto& parent : parents) {
    if (parent->of_tree != Generation{}) continue;
    add(parent->uid, [&] { return detail::row_of(*parent, worker_.targets); });
  }
  for (const ChildSlot& slot : worker_.table.children) {
    if (slot.state.load() != static_cast<std::uint32_t>(SlotState::live)) continue;
    // The shadow of a parent that is itself a child has a pager too, but it is no child.
    const auto is_shadow = [&](const auto& parent) {
      return slot.pid != 0 && static_cast<std::uint32_t>(parent->shadow_pid) == slot.pid;
    };
    if (std::any_of(parents.begin(), parents.end(), is_shadow)) continue;
    add(slot.uid, [&] { return detail::row_of(slot); });
  }
  return reply(listing);
}

inline Result<void> Session::stats(const local::Packet&) {
  std::uint64_t children = 0, faults = 0, fetched = 0, bytes = 0, fallbacks = 0, cached = 0;
  for (const ChildSlot& slot : worker_.table.children) {
    if (slot.state.load() != static_cast<std::uint32_t>(SlotState::live)) continue;
    ++children;
    faults += slot.faults.load();
    fetched += slot.pages_fetched.load();
    bytes += slot.bytes_fetched.load();
    fallbacks += slot.fallbacks.load();
    cached += slot.cached.load();
  }
  const EndedChildren& ended = worker_.table.ended_children;
  ProfileBook book;
  worker_.profile.copy_to(book);
  for (const auto& pager : worker_.pagers) pager->report(book);
  const nlohmann::json json = {
      {"machine", static_cast<std::uint32_t>(worker_.options.machine)},
      {"worker_starts", worker_.table.worker_starts.load()},
      {"parents", worker_.parents.list().size()},
      {"children", children},
      {"faults", faults},
      {"pages_fetched", fetched},
      {"pages_from_cache", cached},
      {"bytes_fetched", bytes},
      {"fallback_reads", fallbacks},
      {"ended",
       {{"children", ended.count.load()},
        {"faults", ended.faults.load()},
        {"pages_fetched", ended.pages_fetched.load()},
        {"pages_from_cache", ended.cached.load()},
        {"bytes_fetched", ended.bytes_fetched.load()},
        {"fallback_reads", ended.fallbacks.load()}}},
      {"caches", worker_.caches.size()},
      {"cache_bytes", worker_.caches.bytes_used()},
      {"profile", book.json()},
  };
  return reply(local::StatsText{json.dump()});
}

}  // namespace mitosis::agent
