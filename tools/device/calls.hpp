// SPDX-License-Identifier: MIT
// The device's calls: numbers, arguments, and who answers them. World: user.
// The numbers and structures are those of the original's C client.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mitosis::device {

enum Call : unsigned long {
  call_nil = 0,
  call_connect = 3,
  call_prepare = 4,
  call_resume_local = 5,
  call_resume_remote = 6,
  call_prepare_ping = 7,
  call_nil_rpc = 8,
};

/// Connect's argument.
struct ConnectRequest {
  std::uint32_t machine_id;
  std::uint32_t nic_id;
  const char* gid;
};
static_assert(sizeof(ConnectRequest) == 16 && offsetof(ConnectRequest, gid) == 8);

/// ResumeRemote's argument.
struct ResumeRemoteRequest {
  std::uint32_t machine_id;
  std::uint32_t handler_id;
};

/// What opening the device is to find: an agent. 0, or -1 with errno and a line on stderr.
int look_for_agent() noexcept;

/// An ioctl of the device. As the module: 0, in a resumed child's Prepare 1, or -1 with errno; the
/// reason goes to stderr, since there is no kernel log. ResumeLocal and ResumeRemote do not return.
int call(unsigned long request, unsigned long argument) noexcept;

/// Whether this process has prepared what ends with its last stand-in.
bool ends_with_descriptors() noexcept;
/// After a stand-in was closed: as the module, whose handlers end with the file, ends what this
/// process has prepared (not by PreparePing) if it has no other open. Leaves errno alone.
void closed() noexcept;

}  // namespace mitosis::device
