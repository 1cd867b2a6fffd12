// SPDX-License-Identifier: MIT
// KnownTargets: what other machines have told a verbs fabric of their targets. World: user; its
// fabric's thread alone.
#pragma once

#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/fabric_context.hpp>
#include <mitosis/net/verbs/piece_map.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace mitosis::verbs {

/// Asks by errands; nobody waits for an answer. Must not end before the context's errands have.
class KnownTargets {
 public:
  explicit KnownTargets(FabricContext& context) noexcept : context_(&context) {}

  /// What has been told so far; valid until the next call.
  [[nodiscard]] const PieceMap& pieces(MachineId peer, const TargetName& name, Time now) {
    return target(peer, name, now).pieces;
  }
  /// Somebody needs what has not been told: asks, where that may help and has not just been done.
  void want_more(MachineId peer, const TargetName& name, Time now) {
    Target& known = target(peer, name, now);
    if (!known.pieces.complete() && !known.asking && now >= known.ask_at) ask(peer, known);
  }
  void forget(MachineId peer, const TargetName& name) noexcept { all_.erase({peer, name.number}); }
  void forget(MachineId peer) noexcept {
    std::erase_if(all_, [peer](const auto& each) { return each.first.first == peer; });
  }

 private:
  struct Target {
    TargetName name;
    PieceMap pieces;
    Time ask_at{0};  ///< not again before
    bool asking = false;
  };
  static constexpr std::size_t max_targets = 1024;
  /// Who has no verbs, or is not there, is not asked for each read.
  static constexpr std::uint64_t failed_pause_ms = 1000;

  Target& target(MachineId peer, const TargetName& name, Time now) {
    const std::pair<MachineId, std::uint32_t> key{peer, name.number};
    const auto known = all_.find(key);
    if (known != all_.end() && known->second.name == name) return known->second;
    if (all_.size() >= max_targets) {
      std::erase_if(all_, [](const auto& each) { return !each.second.asking; });
    }
    Target& made = all_[key];
    made = {};
    made.name = name;
    made.ask_at = now;
    return made;
  }
  void ask(MachineId peer, Target& target) {
    target.asking = true;
    const auto errand = [this, peer, name = target.name, control = context_->control,
                         ms = context_->options.connect_ms]() -> Errands::Answer {
      auto told = std::make_shared<Result<rpc::PiecesReply>>(
          control->pieces(peer, name, tcp::deadline_in(ms)));
      return [this, peer, name, told] { learn(peer, name, std::move(*told)); };
    };
    if (!context_->errands->run(errand)) target.asking = false;
  }
  void learn(MachineId peer, const TargetName& name, Result<rpc::PiecesReply> told) {
    const auto known = all_.find({peer, name.number});
    if (known == all_.end() || !(known->second.name == name)) return;
    Target& asked = known->second;
    asked.asking = false;
    const std::uint64_t pause_ms = told ? context_->options.ask_again_ms : failed_pause_ms;
    asked.ask_at = tcp::monotonic_now() + pause_ms * tcp::nanoseconds_per_ms;
    if (told) {
      asked.pieces = PieceMap(std::move(told).value());
    } else {
      context_->last_failure = told.error();
    }
  }

  FabricContext* context_;
  std::map<std::pair<MachineId, std::uint32_t>, Target> all_;
};

}  // namespace mitosis::verbs
