// SPDX-License-Identifier: MIT
// ImageSource: reads a copied image of a parent's pages. World: user.
// Cow<Off>: prepare copies the pages once into a memfd; afterwards no process needs to live.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/image_room.hpp>
#include <mitosis/mem/page_ranges.hpp>
#include <mitosis/mem/shared_mapping.hpp>
#include <mitosis/mem/source.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace mitosis {

/// Copies the pages of `ranges` out of `source`, range after range, to `to`, which has room for
/// them.
inline Result<void> copy_image(PageSource& source, const PageRanges& ranges,
                               std::uint8_t* to) noexcept {
  constexpr std::uint64_t piece = std::uint64_t{1} << 20;
  for (const PageRange& r : ranges.ranges()) {
    for (std::uint64_t done = 0; done < r.bytes(); done += piece) {
      const std::uint64_t n = r.bytes() - done < piece ? r.bytes() - done : piece;
      const Errc e = source.read(address(r.first) + done, MutableBytes(to, n));
      if (e != Errc::ok) {
        return Error(e).at_address(address(r.first) + done).in("copy the pages");
      }
      to += n;
    }
  }
  return {};
}

/// Copies the pages of `ranges` out of `source`, range after range, into a new memfd, sealed
/// against any change; where it is `for_device`, against a change of its size alone: to register
/// memory with a device takes a writable mapping before Linux 6.3. On failure nothing is left.
inline Result<UniqueFd> build_image(PageSource& source, const PageRanges& ranges,
                                    bool for_device = false) noexcept {
  UniqueFd fd(::memfd_create("mitosis-image", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Error(Errc::system_call_failed, "memfd_create", errno).in("copy the pages");
  const std::uint64_t bytes = ranges.pages() << page_shift;
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0 && bytes != 0) {
    // Asked for in advance: a full tmpfs would kill the copying thread with SIGBUS.
    return Error(Errc::out_of_memory, "the image of a parent", errno).in("copy the pages");
  }
  {
    auto image = SharedMapping::of(fd.get(), bytes, PROT_READ | PROT_WRITE);
    if (!image) return image.error().in("copy the pages");
    // A process that another thread forks meanwhile must not hold it: nothing can be sealed against
    // writing that is mapped for it anywhere.
    (void)::madvise(image->data(), bytes, MADV_DONTFORK);
    if (auto copied = copy_image(source, ranges, image->data()); !copied) return copied.error();
  }
  const int seals = (for_device ? 0 : F_SEAL_WRITE) | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  // One that was forked between mmap and madvise holds it for a while.
  constexpr int longest_wait_ms = 1'000;
  for (int waited = 0; ::fcntl(fd.get(), F_ADD_SEALS, seals) != 0; ++waited) {
    if (errno != EBUSY || waited == longest_wait_ms) {
      return Error(Errc::system_call_failed, "fcntl(F_ADD_SEALS)", errno).in("copy the pages");
    }
    (void)::usleep(1'000);
  }
  return fd;
}

/// Serves an image from its mapping, so that it can also be sent without a copy.
class ImageSource final : public PageSource {
 public:
  /// In an extent, which it keeps, where copy_image has put them.
  static Result<std::shared_ptr<ImageSource>> map(std::shared_ptr<const ImageExtent> extent,
                                                  PageRanges ranges) noexcept {
    auto mapping =
        SharedMapping::of(extent->file, ranges.pages() << page_shift, PROT_READ, extent->offset);
    if (!mapping) return mapping.error();
    auto made = std::make_shared<ImageSource>(std::move(mapping).value(), std::move(ranges));
    made->extent_ = std::move(extent);
    return made;
  }
  /// `fd` (borrowed, for this call) is what build_image made of the same ranges: in this process
  /// or in an earlier one. invalid_argument: its size says that it is not.
  static Result<std::shared_ptr<ImageSource>> map(int fd, PageRanges ranges) noexcept {
    struct stat status = {};
    if (::fstat(fd, &status) != 0) return Error(Errc::system_call_failed, "fstat", errno);
    const std::uint64_t bytes = ranges.pages() << page_shift;
    if (static_cast<std::uint64_t>(status.st_size) != bytes) {
      return Error(Errc::invalid_argument, "an image of another size than its runs");
    }
    auto mapping = SharedMapping::of(fd, bytes, PROT_READ);
    if (!mapping) return mapping.error();
    return std::make_shared<ImageSource>(std::move(mapping).value(), std::move(ranges));
  }

  ImageSource(SharedMapping image, PageRanges ranges) noexcept
      : image_(std::move(image)), ranges_(std::move(ranges)) {}

  [[nodiscard]] Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    const Bytes bytes = view(address, into.size());
    if (bytes.size() != into.size()) return Errc::page_unavailable;
    if (!into.empty()) std::memcpy(into.data(), bytes.data(), into.size());
    return Errc::ok;
  }
  /// The bytes themselves, valid as long as this object; empty where the image lacks some.
  [[nodiscard]] Bytes view(std::uint64_t address, std::size_t bytes) const noexcept {
    const auto [found, offset] = ranges_.offset_of(address, bytes);
    return found ? Bytes(image_.data() + offset, bytes) : Bytes();
  }

 private:
  SharedMapping image_;
  PageRanges ranges_;
  std::shared_ptr<const ImageExtent> extent_;  ///< null where the image is a file of its own
};

}  // namespace mitosis
