// SPDX-License-Identifier: MIT
// KernelModule: what mitosis.ko of this machine tells, where it is loaded. World: user.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>

#include <mitosis/fork/kernel/device.h>
#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::tools {

/// An open device of the module, which it holds: it cannot be unloaded meanwhile. Asks what anyone
/// may ask. Move-only.
class KernelModule {
 public:
  static constexpr const char* device = "/dev/mitosis-syscalls";

  struct Prepared {
    std::vector<mitosis_entry> entries;  ///< the caller's own; all for who has CAP_SYS_PTRACE
    std::string policy;
  };

  /// Nothing: there is no module. system_call_failed: there is one that cannot be opened.
  static Result<std::optional<KernelModule>> open() {
    UniqueFd fd(::open(device, O_RDWR | O_CLOEXEC));
    if (fd) return std::optional(KernelModule(std::move(fd)));
    if (errno == ENOENT || errno == ENXIO || errno == ENODEV) return std::optional<KernelModule>();
    return failed("open the kernel module");
  }

  /// system_call_failed: a module of another version, or no memory.
  [[nodiscard]] Result<Prepared> list() const {
    Prepared out;
    mitosis_list request = {};
    do {  // there may be more by then
      out.entries.resize(request.count);
      request.entries = reinterpret_cast<std::uint64_t>(out.entries.data());
      request.room = static_cast<std::uint32_t>(out.entries.size());
      if (::ioctl(fd_.get(), MITOSIS_LIST, &request) != 0) {
        return failed("list what the kernel module has prepared");
      }
    } while (request.count > out.entries.size());
    out.entries.resize(request.count);
    out.policy.assign(request.policy, ::strnlen(request.policy, sizeof request.policy));
    return out;
  }

  /// The counters by name. As list.
  [[nodiscard]] Result<nlohmann::json> statistics() const {
    mitosis_statistics s = {};
    if (::ioctl(fd_.get(), MITOSIS_STATISTICS, &s) != 0) {
      return failed("read the kernel module's counters");
    }
    return nlohmann::json{{"prepared_now", s.prepared_now},
                          {"prepared_pages_now", s.prepared_pages_now},
                          {"children_now", s.children_now},
                          {"prepares", s.prepares},
                          {"refused_prepares", s.refused_prepares},
                          {"local_resumes", s.local_resumes},
                          {"remote_resumes", s.remote_resumes},
                          {"refused_resumes", s.refused_resumes},
                          {"faults", s.faults},
                          {"failed_faults", s.failed_faults},
                          {"local_pages", s.local_pages},
                          {"remote_pages", s.remote_pages},
                          {"doorbells", s.doorbells},
                          {"accepted_peers", s.accepted_peers},
                          {"refused_peers", s.refused_peers},
                          {"reclaims", s.reclaims},
                          {"ended_leases", s.ended_leases},
                          {"prepares_unsupported", s.prepares_unsupported},
                          {"prepares_in_use", s.prepares_in_use},
                          {"prepares_without_room", s.prepares_without_room},
                          {"resumes_unsupported", s.resumes_unsupported},
                          {"resumes_unknown", s.resumes_unknown},
                          {"resumes_denied", s.resumes_denied},
                          {"resumes_unreachable", s.resumes_unreachable},
                          {"ahead_pages", s.ahead_pages},
                          {"zero_pages", s.zero_pages},
                          {"fetched_pages", s.fetched_pages},
                          {"cached_pages", s.cached_pages},
                          {"dropped_pages", s.dropped_pages},
                          {"reads", s.reads},
                          {"read_bytes", s.read_bytes},
                          {"fallback_reads", s.fallback_reads},
                          {"connections", s.connections},
                          {"broken_connections", s.broken_connections}};
  }

 private:
  explicit KernelModule(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  static Error failed(const char* what) {
    return Error(Errc::system_call_failed, device, errno).in(what);
  }

  UniqueFd fd_;
};

}  // namespace mitosis::tools
