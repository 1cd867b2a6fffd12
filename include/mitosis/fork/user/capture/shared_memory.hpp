// SPDX-License-Identifier: MIT
// SharedMemory: memory that a process shares, copied while the process waits. World: user.
// Its shadow shares it too, so a shadow is no snapshot of it. Other processes that share it may
// write meanwhile: of them nothing is known.
#pragma once

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/mapping_kind.hpp>
#include <mitosis/mem/descriptor/builder.hpp>
#include <mitosis/mem/descriptor/shared_records.hpp>
#include <mitosis/mem/image_source.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// One object: anonymous shared memory, a memfd, POSIX or System V shared memory, a deleted file.
struct SharedObject {
  std::uint64_t device = 0, inode = 0;            ///< as the mappings show them
  std::uint64_t file_device = 0, file_inode = 0;  ///< as stat(2) does
  std::uint32_t mode = 0, seals = 0;
  bool segment = false;  ///< of System V
  std::uint64_t bytes = 0;
  std::string name;
  UniqueFd fd;  ///< open for reading, while it is copied
  /// Of a segment whose size is not whole pages: what its last page shows behind the file's end.
  std::vector<std::uint8_t> rest;
  std::vector<PageRange> data;  ///< its pages that are not holes, ascending
  PageNumber source{};          ///< where the descriptor finds its page 0
};

/// The objects of one process and the image of their pages. Move-only.
class SharedMemory {
 public:
  /// Adds what a shared mapping shows, unless it is known. `process` is an open /proc/PID.
  Result<void> add(int process, const Mapping& m);
  /// Copies the pages of all objects and lets go of them; more than `budget` bytes are refused.
  Result<void> copy(std::uint64_t budget);

  [[nodiscard]] const std::vector<SharedObject>& objects() const noexcept { return objects_; }
  /// The index of the object that the mapping shows, or none.
  [[nodiscard]] std::optional<std::size_t> find(const Mapping& m) const noexcept {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (objects_[i].inode == m.inode && objects_[i].device == m.device &&
          objects_[i].segment == is_segment(m)) {
        return i;
      }
    }
    return std::nullopt;
  }
  /// The index of the object that a file of this stat(2) is, or none.
  [[nodiscard]] std::optional<std::size_t> find_file(std::uint64_t device,
                                                     std::uint64_t inode) const noexcept {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      if (objects_[i].file_inode == inode && objects_[i].file_device == device) return i;
    }
    return std::nullopt;
  }
  /// The same objects without their pages: for a tree's member, whose root has those.
  [[nodiscard]] SharedMemory names() const;
  /// All objects and their runs.
  void describe(DescriptorBuilder& builder) const;
  /// What holds the pages, in the order of their sources; none where there are none.
  UniqueFd take_image() noexcept { return std::move(image_); }

 private:
  std::vector<SharedObject> objects_;
  std::uint64_t next_source_ = descriptor::shared_source_start >> page_shift;
  UniqueFd image_;
};

namespace detail {

/// Reads the objects where the descriptor will find their pages.
class ObjectReader final : public PageSource {
 public:
  explicit ObjectReader(const std::vector<SharedObject>& objects) noexcept : objects_(objects) {}
  [[nodiscard]] Errc read(std::uint64_t address, MutableBytes into) noexcept override {
    // Ascending by source.
    const auto after =
        std::upper_bound(objects_.begin(), objects_.end(), page_of(address),
                         [](PageNumber page, const SharedObject& o) { return page < o.source; });
    if (after == objects_.begin()) return Errc::page_unavailable;
    const SharedObject& object = *std::prev(after);
    const std::uint64_t from = address - mitosis::address(object.source);
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::pread(object.fd.get(), into.data() + done, into.size() - done,
                                static_cast<off_t>(from + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Errc::page_unavailable;
      if (n == 0) break;  // the last page's part behind the end
      done += static_cast<std::size_t>(n);
    }
    if (done == into.size()) return Errc::ok;
    std::memset(into.data() + done, 0, into.size() - done);
    if (from + done == object.bytes - object.rest.size()) {
      std::copy_n(object.rest.begin(), std::min(object.rest.size(), into.size() - done),
                  into.data() + done);
    }
    return Errc::ok;
  }

 private:
  const std::vector<SharedObject>& objects_;
};

inline Error refuse_shared(const Mapping& m, std::string_view why, int err = 0) {
  const std::string about = fmt::format("the shared memory at {:x}-{:x} ({}) {}", m.start, m.end,
                                        m.path.empty() ? "no name" : m.path, why);
  return Error(Errc::unsupported_process, about.c_str(), err).in("check memory");
}

/// What a mapping shows of its segment's last page behind the segment's size: it is memory too.
inline Result<std::vector<std::uint8_t>> rest_of(int process, const Mapping& m,
                                                 std::uint64_t bytes) {
  std::vector<std::uint8_t> rest((page_size - bytes % page_size) % page_size);
  const std::uint64_t at = m.start + bytes - m.offset;
  if (rest.empty() || bytes < m.offset || at >= m.end) return rest;  // not shown here: zeros
  const UniqueFd memory(::openat(process, "mem", O_RDONLY | O_CLOEXEC));
  if (::pread(memory.get(), rest.data(), rest.size(), static_cast<off_t>(at)) !=
      static_cast<ssize_t>(rest.size())) {
    return refuse_shared(m, "cannot be read", errno);
  }
  return rest;
}

/// The pages of a file that are not holes.
inline Result<std::vector<PageRange>> data_of(int fd, std::uint64_t bytes) {
  std::vector<PageRange> data;
  std::uint64_t at = 0;
  while (at < bytes) {
    const off_t start = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (start < 0 && errno == ENXIO) break;  // only a hole is left
    const off_t end = start < 0 ? -1 : ::lseek(fd, start, SEEK_HOLE);
    if (end < 0) return Error(Errc::system_call_failed, "lseek of shared memory", errno);
    const std::uint64_t stop = (static_cast<std::uint64_t>(end) + page_size - 1) >> page_shift;
    const PageNumber first = page_of(static_cast<std::uint64_t>(start));
    data.push_back({first, stop - index(first)});
    at = stop << page_shift;
  }
  return data;
}

}  // namespace detail

inline Result<void> SharedMemory::add(int process, const Mapping& m) {
  if (find(m)) return {};
  if (objects_.size() == descriptor::max_shared_objects) {
    return detail::refuse_shared(m, "is one more than the 48 objects that can be captured");
  }
  SharedObject object;
  object.device = m.device;
  object.inode = m.inode;
  object.segment = is_segment(m);
  object.name = std::string(m.path);
  const std::string by_range = fmt::format("map_files/{:x}-{:x}", m.start, m.end);
  object.fd = UniqueFd(::openat(process, by_range.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  struct statfs where = {};
  if (!object.fd || ::fstat(object.fd.get(), &status) != 0 ||
      ::fstatfs(object.fd.get(), &where) != 0) {
    return detail::refuse_shared(m, "cannot be opened (it takes CAP_CHECKPOINT_RESTORE)", errno);
  }
  if (static_cast<std::uint64_t>(where.f_type) == HUGETLBFS_MAGIC) {
    return detail::refuse_shared(m, "is of huge pages of hugetlbfs");
  }
  if (!S_ISREG(status.st_mode)) return detail::refuse_shared(m, "is no file's");
  object.bytes = static_cast<std::uint64_t>(status.st_size);
  object.file_device = status.st_dev;
  object.file_inode = status.st_ino;
  object.mode = status.st_mode & 07777;
  object.seals = static_cast<std::uint32_t>(std::max(::fcntl(object.fd.get(), F_GET_SEALS), 0));
  if (object.segment) {
    auto rest = detail::rest_of(process, m, object.bytes);
    if (!rest) return rest.error();
    object.rest = std::move(*rest);
    object.bytes += object.rest.size();
  }
  auto data = detail::data_of(object.fd.get(), object.bytes);
  if (!data) return data.error().in("check memory");
  object.data = std::move(*data);
  object.source = PageNumber{next_source_};
  next_source_ += ((object.bytes + page_size - 1) >> page_shift) + 1;
  if (next_source_ >= descriptor::shared_source_start >> (page_shift - 1)) {
    return detail::refuse_shared(m, "is too large");
  }
  objects_.push_back(std::move(object));
  return {};
}

inline Result<void> SharedMemory::copy(std::uint64_t budget) {
  if (objects_.empty()) return {};
  std::vector<PageRange> ranges;
  for (const SharedObject& object : objects_) {
    for (const PageRange& data : object.data) {
      ranges.push_back({object.source + index(data.first), data.count});
    }
  }
  const PageRanges pages(std::move(ranges));
  if (pages.pages() << page_shift > budget) {
    const std::string about =
        fmt::format("the copy of {} MiB of shared memory", pages.pages() >> (20 - page_shift));
    return Error(Errc::budget_exceeded, about.c_str()).in("copy shared memory");
  }
  detail::ObjectReader reader(objects_);
  auto image = build_image(reader, pages);
  if (!image) return image.error();
  image_ = std::move(*image);
  for (SharedObject& object : objects_) object.fd.reset();
  return {};
}

inline SharedMemory SharedMemory::names() const {
  SharedMemory same;
  for (const SharedObject& object : objects_) {
    SharedObject name;
    name.device = object.device;
    name.inode = object.inode;
    name.segment = object.segment;
    name.bytes = object.bytes;
    name.name = object.name;
    same.objects_.push_back(std::move(name));
  }
  return same;
}

inline void SharedMemory::describe(DescriptorBuilder& builder) const {
  for (std::size_t i = 0; i < objects_.size(); ++i) {
    const SharedObject& object = objects_[i];
    builder.shared_objects.push_back({object.bytes, builder.string(object.name), 0});
    for (PageRange data : object.data) {
      constexpr std::uint64_t longest = 0xffffffffu;
      while (!data.empty()) {
        const std::uint64_t count = std::min(data.count, longest);
        builder.shared_runs.push_back({index(data.first), index(object.source + index(data.first)),
                                       static_cast<std::uint32_t>(count),
                                       static_cast<std::uint32_t>(i)});
        data = {data.first + count, data.count - count};
      }
    }
  }
}

}  // namespace mitosis::capture
