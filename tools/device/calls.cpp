// SPDX-License-Identifier: MIT
// The device's calls, answered by libmitosis. World: user.
// Each opens a connection of its own: a program of the original interface does not expect any
// descriptor that it has not opened.
#include "calls.hpp"

#include <dirent.h>
#include <mitosis/mitosis.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "checked_memory.hpp"
#include "error_number.hpp"
#include "stand_in.hpp"

namespace mitosis::device {

namespace {

/// What ends with the device's last descriptor.
struct Prepared {
  pid_t owner = 0;  ///< a forked child shares the memory, not the duty
  std::size_t count = 0;
  std::array<std::uint64_t, 256> handlers = {};
};
Prepared prepared;

int fail(int number, const char* step, const char* why) noexcept {
  ::dprintf(STDERR_FILENO, "%s: %s: %s\n", path, step, why);
  errno = number;
  return -1;
}
int fail(const char* step) noexcept {
  return fail(error_number(mitosis_errno()), step, mitosis_strerror());
}

class Agent {
 public:
  Agent() noexcept : sd_(mitosis_open()) {}
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent() { mitosis_close(sd_); }
  explicit operator bool() const noexcept { return sd_ >= 0; }
  [[nodiscard]] int sd() const noexcept { return sd_; }

 private:
  int sd_;
};

/// `mitosis run --policy`.
const char* policy() noexcept {
  const char* const name = ::secure_getenv("MITOSIS_POLICY");
  return name != nullptr && *name != '\0' ? name : nullptr;
}

void remember(std::uint64_t handler) noexcept {
  if (prepared.owner != ::getpid()) prepared = {};
  prepared.owner = ::getpid();
  if (prepared.count < prepared.handlers.size()) prepared.handlers[prepared.count++] = handler;
}

int prepare(std::uint64_t handler, bool ping) noexcept {
  const char* const step = ping ? "PreparePing" : "Prepare";
  const Agent agent;
  if (!agent) return fail(step);
  const unsigned flags = MITOSIS_KEYLESS | (ping ? MITOSIS_PINNED : MITOSIS_ENDS_WITH_CALLER);
  mitosis_key unused;
  const int which = mitosis_prepare_as(agent.sd(), handler, policy(), flags, &unused);
  if (which < 0) return fail(step);
  if (which == MITOSIS_CHILD) {
    prepared = {};
  } else if (!ping) {
    remember(handler);
  }
  return which;
}

int resume(std::uint32_t machine, std::uint64_t handler) noexcept {
  const Agent agent;
  if (agent) (void)mitosis_resume_remote(agent.sd(), machine, handler, nullptr, policy());
  return fail(machine == MITOSIS_HERE ? "ResumeLocal" : "ResumeRemote");
}

int resume_remote(const void* argument) noexcept {
  ResumeRemoteRequest request;
  if (!copy_from_caller(&request, argument, sizeof request)) {
    return fail(EFAULT, "ResumeRemote", "its argument cannot be read");
  }
  return resume(request.machine_id, request.handler_id);
}

int ping(std::uint32_t machine, const char* step) noexcept {
  const Agent agent;
  return agent && mitosis_ping(agent.sd(), machine) == 0 ? 0 : fail(step);
}

/// "host:port" or "[v6]:port"; an RDMA gid, whose last group may be all digits too, is none.
bool is_address(const char* text) noexcept {
  const char* const colon = std::strrchr(text, ':');
  if (colon == nullptr || colon == text || colon[1] == '\0') return false;
  if (std::strspn(colon + 1, "0123456789") != std::strlen(colon + 1)) return false;
  return std::strchr(text, ':') == colon || (text[0] == '[' && colon[-1] == ']');
}

int connect(const void* argument) noexcept {
  ConnectRequest request;
  char gid[256];
  if (!copy_from_caller(&request, argument, sizeof request) ||
      !copy_string(gid, request.gid, sizeof gid)) {
    return fail(EFAULT, "Connect", "its argument cannot be read");
  }
  const Agent agent;
  if (!agent) return fail("Connect");
  if (is_address(gid)) {
    const int done = mitosis_connect(agent.sd(), request.machine_id, request.nic_id, gid);
    return done == 0 ? 0 : fail("Connect");
  }
  // An RDMA gid says nothing to a TCP agent, but a script that has one may still be right.
  if (mitosis_ping(agent.sd(), request.machine_id) == 0) return 0;
  if (mitosis_errno() != MITOSIS_EMACHINE_UNKNOWN) return fail("Connect");
  char why[512];
  (void)std::snprintf(why, sizeof why,
                      "`%s` is not host:port, and the agent knows no machine %u: pass its agent's "
                      "address as the gid, or run `mitosis agent` with --peer %u=HOST:PORT",
                      gid, request.machine_id, request.machine_id);
  return fail(EHOSTUNREACH, "Connect", why);
}

/// Whether this process has a stand-in open.
bool any_open() noexcept {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return true;  // the agent ends it with the process
  bool found = false;
  while (const dirent* const entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.' && is_stand_in(std::atoi(entry->d_name))) found = true;
  }
  ::closedir(directory);
  return found;
}

}  // namespace

int look_for_agent() noexcept {
  const Agent agent;
  return agent ? 0 : fail("open");
}

int call(unsigned long request, unsigned long argument) noexcept {
  switch (request) {
    case call_nil:
      return 0;  // the module's own answer to it
    case call_connect:
      return connect(reinterpret_cast<const void*>(argument));
    case call_prepare:
    case call_prepare_ping:
      return prepare(argument, request == call_prepare_ping);
    case call_resume_local:
      return resume(MITOSIS_HERE, argument);
    case call_resume_remote:
      return resume_remote(reinterpret_cast<const void*>(argument));
    case call_nil_rpc:
      return ping(static_cast<std::uint32_t>(argument), "NilRPC");
    default:
      errno = ENOTTY;
      return -1;
  }
}

bool ends_with_descriptors() noexcept {
  return prepared.count > 0 && prepared.owner == ::getpid();
}

void closed() noexcept {
  const int saved = errno;
  if (!any_open()) {
    const Agent agent;
    for (std::size_t i = 0; agent && i < prepared.count; ++i) {
      (void)mitosis_reclaim(agent.sd(), prepared.handlers[i]);
    }
    prepared = {};
  }
  errno = saved;
}

}  // namespace mitosis::device
