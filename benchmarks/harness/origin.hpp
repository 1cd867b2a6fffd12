// SPDX-License-Identifier: MIT
// Origin: a parent that is started and prepared when a benchmark first needs it. World: user.
// Registering a benchmark that a filter leaves out must cost nothing.
#pragma once

#include <harness/scene.hpp>

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace bench {

/// Owns the parent and keeps it prepared.
class Origin {
 public:
  Origin(Scene& scene, std::function<std::optional<Talker>()> start, std::string policy)
      : scene_(&scene), start_(std::move(start)), policy_(std::move(policy)) {}

  /// Null where it could not be had.
  const Handle* get() {
    if (!parent_) parent_ = start_();
    if (parent_ && !handle_) handle_ = scene_->prepare(*parent_, policy_);
    return handle_ ? &*handle_ : nullptr;
  }
  [[nodiscard]] const std::string& policy() const noexcept { return policy_; }
  /// Ends the prepared parent: the next `get` prepares again, under another handler.
  bool reclaim() {
    const bool done = handle_ && Scene::reclaim(*parent_, *handle_);
    handle_.reset();
    return done;
  }

 private:
  Scene* scene_;
  std::function<std::optional<Talker>()> start_;
  std::string policy_;
  std::optional<Talker> parent_;
  std::optional<Handle> handle_;
};

}  // namespace bench
