// SPDX-License-Identifier: MIT
// ImageRoom: memory that was made ready beforehand, for images of parents to be copied to.
// World: user.
#pragma once

#include <mitosis/base/result.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace mitosis {

/// Room for one image, as a part of a file. Given back when it ends: nobody may read it then.
class ImageExtent {
 public:
  /// `file` is borrowed.
  ImageExtent(int file_of_all, std::uint64_t at, std::uint64_t size,
              std::function<void()> give_back)
      : file(file_of_all), offset(at), bytes(size), give_back_(std::move(give_back)) {}
  ImageExtent(const ImageExtent&) = delete;
  ImageExtent& operator=(const ImageExtent&) = delete;
  ~ImageExtent() { give_back_(); }

  const int file;
  const std::uint64_t offset, bytes;

 private:
  std::function<void()> give_back_;
};

/// Thread-safe; outlives its extents.
class ImageRoom {
 public:
  ImageRoom() = default;
  ImageRoom(const ImageRoom&) = delete;
  ImageRoom& operator=(const ImageRoom&) = delete;
  virtual ~ImageRoom() = default;

  /// For an image of so many bytes, which can be written without SIGBUS. out_of_memory.
  virtual Result<std::shared_ptr<const ImageExtent>> take(std::uint64_t bytes) = 0;
  /// What an earlier process had taken; before the first `take`.
  virtual std::shared_ptr<const ImageExtent> adopt(std::uint64_t offset, std::uint64_t bytes) = 0;
};

}  // namespace mitosis
