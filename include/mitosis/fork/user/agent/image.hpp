// SPDX-License-Identifier: MIT
// Image: a descriptor that this machine has fetched, and Images: those that have children here.
// World: user. Ten thousand children of one parent share one copy.
#pragma once

#include <mitosis/base/describe.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/sealed_memfd.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// Names a prepared parent for ever: a generation is never used again.
struct ImageName {
  MachineId machine = MachineId::none;
  HandlerId handler{};
  Generation generation{};
  friend auto operator<=>(const ImageName&,
                          const ImageName&) = default;  // NOLINT: clang-tidy 14 sees a null here
};

/// A checked descriptor. Immutable, shared by all children made from it.
class Image {
 public:
  /// Checks the bytes, which came from another machine: bad_descriptor.
  static Result<std::shared_ptr<const Image>> make(ImageName name, std::vector<std::uint8_t> bytes,
                                                   std::string policy) {
    auto image = std::shared_ptr<Image>(new Image(name, std::move(bytes), std::move(policy)));
    auto view = DescriptorView::parse(Bytes(image->bytes_));
    if (!view) return view.error().at_machine(name.machine).of_handler(name.handler);
    image->view_ = *view;
    auto memfd = sealed_memfd("mitosis-descriptor", Bytes(image->bytes_));
    if (!memfd) return memfd.error();
    image->memfd_ = std::move(memfd).value();
    for (const descriptor::RunRecord run : image->view_->runs()) image->pages_ += run.count;
    return std::shared_ptr<const Image>(std::move(image));
  }

  [[nodiscard]] const ImageName& name() const noexcept { return name_; }
  [[nodiscard]] const DescriptorView& view() const noexcept { return *view_; }
  /// The policy that the parent was prepared with.
  [[nodiscard]] const std::string& policy() const noexcept { return policy_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }
  [[nodiscard]] int memfd() const noexcept { return memfd_.get(); }
  /// How many pages ancestors hold.
  [[nodiscard]] std::uint64_t pages() const noexcept { return pages_; }

 private:
  Image(ImageName name, std::vector<std::uint8_t> bytes, std::string policy)
      : name_(name), policy_(std::move(policy)), bytes_(std::move(bytes)) {}
  ImageName name_;
  std::string policy_;
  std::vector<std::uint8_t> bytes_;
  std::optional<DescriptorView> view_;  // set by make
  UniqueFd memfd_;
  std::uint64_t pages_ = 0;
};

/// Thread-safe. An image lives as long as somebody has it.
class Images {
 public:
  /// The image of that name, made of `bytes` where there is none yet.
  Result<std::shared_ptr<const Image>> get(ImageName name, std::vector<std::uint8_t> bytes,
                                           std::string policy) {
    const std::lock_guard lock(mutex_);
    if (auto image = images_[name].lock()) return image;
    auto image = Image::make(name, std::move(bytes), std::move(policy));
    if (image) images_[name] = *image;
    std::erase_if(images_, [](const auto& entry) { return entry.second.expired(); });
    return image;
  }

  /// Those that somebody has now.
  std::vector<std::shared_ptr<const Image>> all() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<const Image>> found;
    for (const auto& [name, weak] : images_) {
      if (auto image = weak.lock()) found.push_back(std::move(image));
    }
    return found;
  }

 private:
  std::mutex mutex_;
  std::map<ImageName, std::weak_ptr<const Image>> images_;
};

}  // namespace mitosis::agent
