// SPDX-License-Identifier: MIT
// bring_shared: a descriptor's shared memory, made anew for one child. World: user.
// All of it comes before the child runs: a page that is missing in such memory could not be told
// from one that the child has removed through another mapping, process or descriptor of the object.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/image.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::agent {

namespace detail {

/// The last part of a path in /proc/PID/maps: "/memfd:frames (deleted)" is "frames".
inline std::string shared_name(const char* shown) {
  std::string name = shown;
  if (const auto gone = name.find(" (deleted)"); gone != std::string::npos) name.resize(gone);
  if (const auto slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
  if (name.starts_with("memfd:")) name.erase(0, 6);
  constexpr std::size_t longest = 200;  // memfd_create takes 249
  return name.substr(0, longest);
}

inline Result<void> write_at(int fd, Bytes bytes, std::uint64_t at) noexcept {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error(Errc::out_of_memory, "shared memory of a child", errno);
    bytes = bytes.sub(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace detail

/// One memfd an object, with its bytes as of prepare. `read(address, into)` reads owner 0's target
/// and returns an Errc; nothing is left behind where it fails.
template <class Read>
Result<std::vector<UniqueFd>> bring_shared(const DescriptorView& view, Read&& read) {
  constexpr std::uint64_t piece = std::uint64_t{1} << 20;
  std::vector<UniqueFd> objects;
  for (const descriptor::SharedObjectRecord object : view.shared_objects()) {
    const std::string name = detail::shared_name(view.string(object.name));
    UniqueFd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(object.bytes)) != 0) {
      return Error(Errc::out_of_memory, "memfd_create", errno).in("bring shared memory");
    }
    objects.push_back(std::move(fd));
  }
  std::vector<std::uint8_t> bytes(view.shared_runs().size() == 0 ? 0 : piece);
  for (const descriptor::SharedRunRecord run : view.shared_runs()) {
    const std::uint64_t size = view.shared_objects()[run.object].bytes;
    const std::uint64_t length = std::uint64_t{run.count} << page_shift;
    for (std::uint64_t done = 0; done < length; done += piece) {
      const std::uint64_t n = std::min(piece, length - done);
      const std::uint64_t at = (run.page << page_shift) + done;
      const Errc e = read((run.source << page_shift) + done, MutableBytes(bytes.data(), n));
      if (e != Errc::ok) return Error(e).in("bring shared memory");
      const Bytes within(bytes.data(), std::min(n, size - at));  // the last page may be in part
      if (auto r = detail::write_at(objects[run.object].get(), within, at); !r) {
        return r.error().in("bring shared memory");
      }
    }
  }
  return objects;
}

}  // namespace mitosis::agent
