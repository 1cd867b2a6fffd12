// SPDX-License-Identifier: MIT
// LocalType: numbers of the messages between a program and its machine's agent. World: user.
// They are one packet each on a SOCK_SEQPACKET socket; numbers are appended, never reused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mitosis::local {

enum class LocalType : std::uint16_t {
  done = 1,               ///< reply: it was done, there is nothing to tell
  failed = 2,             ///< reply to anything: it was not done
  nil = 3,                ///< request, replied to with done
  connect = 4,            ///< request, done
  prepare = 5,            ///< request, prepared
  prepared = 6,           ///< reply
  shadow_ready = 7,       ///< first packet of a lifeline, which gets no reply
  resume = 8,             ///< request, resume_offer
  resume_offer = 9,       ///< reply
  adopt = 10,             ///< request, adopted
  adopted = 11,           ///< reply
  mapped = 12,            ///< request, go
  go = 13,                ///< reply
  spawn = 14,             ///< request, spawned (one or several)
  spawned = 15,           ///< reply
  child_exited = 16,      ///< event on the connection that spawned
  list = 17,              ///< request, listing
  listing = 18,           ///< reply
  reclaim = 19,           ///< request, done
  stats = 20,             ///< request, stats_text
  stats_text = 21,        ///< reply
  prepare_process = 22,   ///< request, process_prepared
  process_prepared = 23,  ///< reply
  members = 24,           ///< request, done
};

/// No packet is longer: it must fit a unix socket's default send buffer.
inline constexpr std::size_t max_packet = std::size_t{96} << 10;
/// No packet carries more file descriptors (the kernel's SCM_MAX_FD is 253).
inline constexpr std::size_t max_fds = 64;

/// Where the agent listens unless $MITOSIS_SOCKET says otherwise.
inline constexpr const char* default_socket = "/run/mitosis/agent.sock";

}  // namespace mitosis::local
