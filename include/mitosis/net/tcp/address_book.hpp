// SPDX-License-Identifier: MIT
// AddressBook: where each machine's agent listens. World: user; thread-safe.
// Names are resolved when they are entered, so that a pager's thread never waits for DNS.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/tcp/address.hpp>

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::tcp {

/// MachineId -> address. Owned by the agent, shared by all its threads.
class AddressBook {
 public:
  /// Enters or replaces a machine. Blocks while the name is resolved.
  [[nodiscard]] Result<void> set(MachineId machine, const std::string& host_and_port) {
    Result<Address> address = resolve(host_and_port);
    if (!address.ok()) return address.error().at_machine(machine);
    const std::lock_guard lock(mutex_);
    entries_[machine] = Entry{host_and_port, *address};
    return {};
  }
  void erase(MachineId machine) {
    const std::lock_guard lock(mutex_);
    entries_.erase(machine);
  }
  /// The resolved address, or nothing where the machine is unknown.
  [[nodiscard]] std::optional<Address> find(MachineId machine) const {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(machine);
    if (entry == entries_.end()) return std::nullopt;
    return entry->second.address;
  }
  /// All machines with the text that they were entered with.
  [[nodiscard]] std::vector<std::pair<MachineId, std::string>> list() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<MachineId, std::string>> machines;
    machines.reserve(entries_.size());
    for (const auto& [machine, entry] : entries_) machines.emplace_back(machine, entry.text);
    return machines;
  }

 private:
  struct Entry {
    std::string text;
    Address address;
  };
  mutable std::mutex mutex_;
  std::unordered_map<MachineId, Entry> entries_;
};

}  // namespace mitosis::tcp
