// SPDX-License-Identifier: MIT
// Offer: what the agent gives a launcher to become a child from. World: user.
#pragma once

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <mitosis/fork/user/local/birth.hpp>
#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/resume.hpp>
#include <mitosis/fork/user/restore/address_space.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::restore {

/// Whose child the caller wants to be, and how long that may take.
struct ResumeRequest {
  MachineId machine = MachineId::none;  ///< where the parent was prepared; none: here
  HandlerId handler{};
  AuthKey key;
  std::string policy;  ///< empty: the one that it was prepared with
  std::chrono::milliseconds patience{30'000};
  /// Told what the child will lack because the caller may not have it; null: nobody.
  void (*warn)(const char* sentence) = nullptr;
  /// The caller has the parent's process number, and CAP_CHECKPOINT_RESTORE to give its threads
  /// theirs. Unless it is root's, the child has no capability then.
  bool same_numbers = false;
};

/// A descriptor's bytes, mapped: the memfd is sealed, so nothing changes them.
class DescriptorBytes {
 public:
  DescriptorBytes(DescriptorBytes&& other) noexcept : range_(std::exchange(other.range_, {})) {}
  DescriptorBytes& operator=(DescriptorBytes&& other) noexcept {
    std::swap(range_, other.range_);
    return *this;
  }
  DescriptorBytes(const DescriptorBytes&) = delete;
  DescriptorBytes& operator=(const DescriptorBytes&) = delete;
  ~DescriptorBytes() {
    if (!range_.empty()) ::munmap(reinterpret_cast<void*>(range_.start), range_.bytes());
  }

  static Result<DescriptorBytes> map(int memfd, std::uint64_t bytes) noexcept {
    struct stat is = {};
    if (bytes == 0 || bytes > descriptor::max_bytes || ::fstat(memfd, &is) != 0 ||
        static_cast<std::uint64_t>(is.st_size) < bytes) {
      return Error(Errc::bad_message, "the descriptor's size").in("read the offer");
    }
    void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, memfd, 0);
    if (at == MAP_FAILED) {
      return Error(Errc::system_call_failed, "mmap of the descriptor", errno).in("read the offer");
    }
    const auto start = reinterpret_cast<std::uint64_t>(at);
    return DescriptorBytes(Range{start, start + bytes});
  }
  [[nodiscard]] Bytes bytes() const noexcept {
    return {reinterpret_cast<const std::uint8_t*>(range_.start), range_.bytes()};
  }

 private:
  explicit DescriptorBytes(Range range) noexcept : range_(range) {}
  Range range_;
};

struct Offer {
  DescriptorBytes descriptor;
  UniqueFd userfaultfd_device;
  UniqueFd cache;                ///< none without Cache<Local>
  std::vector<UniqueFd> shared;  ///< the descriptor's shared objects
  local::ResumeOffer said;       ///< by the agent
};

/// What the child is told of itself.
inline local::Birth birth_of(const ResumeRequest& request, const Offer& offer) noexcept {
  local::Birth birth;
  if (offer.said.socket.size() < sizeof birth.socket) {
    offer.said.socket.copy(birth.socket, sizeof birth.socket);
  }
  birth.parent = offer.said.parent;
  birth.machine = offer.said.machine;
  birth.handler = request.handler;
  birth.generation = offer.said.generation;
  birth.instance = offer.said.instance;
  (void)!::getrandom(birth.unique, sizeof birth.unique, 0);  // never short for so few bytes
  return birth;
}

/// Sends Resume and takes the answer apart.
inline Result<Offer> ask(const local::ChannelView& agent, const ResumeRequest& request,
                         local::Deadline deadline) {
  local::Resume message;
  message.machine = request.machine;
  message.handler = request.handler;
  message.key = request.key;
  message.policy = request.policy;
  std::vector<UniqueFd> fds;
  auto answer = agent.call<local::ResumeOffer>(message, deadline, {}, &fds);
  if (!answer) return answer.error();
  const std::size_t own = answer->has_cache ? 3 : 2;
  if (fds.size() != own + answer->shared_objects) {
    return Error(Errc::bad_message, "its file descriptors").in("read the offer");
  }
  auto bytes = DescriptorBytes::map(fds[0].get(), answer->descriptor_bytes);
  if (!bytes) return bytes.error();
  Offer offer{std::move(*bytes), std::move(fds[1]), {}, {}, std::move(*answer)};
  if (offer.said.has_cache) offer.cache = std::move(fds[2]);
  for (std::size_t i = own; i < fds.size(); ++i) offer.shared.push_back(std::move(fds[i]));
  return offer;
}

}  // namespace mitosis::restore
