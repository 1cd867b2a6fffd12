// SPDX-License-Identifier: MIT
// The local messages of `mitosis ps`. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/type.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::local {

/// Lists the caller's own parents and children (root: everybody's) from the `skip`-th on. ->
/// Listing
struct List {
  static constexpr LocalType type = LocalType::list;
  std::uint32_t skip = 0;
  template <class A>
  void fields(A& a) {
    a(skip);
  }
};

enum class RowKind : std::uint8_t { parent = 1, child = 2, last = child };

struct ListRow {
  RowKind kind = RowKind::parent;
  std::int32_t pid = 0;  ///< its own; of a parent that has exited, the one that it had
  HandlerId handler{};
  MachineId machine = MachineId::none;  ///< a child: where its parent was prepared
  Generation generation{};
  std::string policy;
  std::string state;  ///< one word: "checking", "ready", "running", "lost", ...
  std::string name;   ///< the program's
  std::uint32_t owner_uid = 0;
  std::uint64_t pages_total = 0;
  std::uint64_t pages_fetched = 0;  ///< a child; a parent: pages served
  std::uint64_t bytes = 0;          ///< on the wire so far
  std::uint64_t age_ms = 0;
  template <class A>
  void fields(A& a) {
    a(kind, pid, handler, machine, generation, policy, state, name, owner_uid, pages_total);
    a(pages_fetched, bytes, age_ms);
  }
};

struct Listing {
  static constexpr LocalType type = LocalType::listing;
  std::vector<ListRow> rows;
  bool more = false;  ///< ask again with `skip` moved on by rows.size()
  template <class A>
  void fields(A& a) {
    a(rows, more);
  }
};

}  // namespace mitosis::local
