// SPDX-License-Identifier: MIT
// TestAgent: the agent's half of a resume, in a thread of the test. World: user (tests).
// It serves pages straight from the captured program's memory.
#pragma once

#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/resume.hpp>
#include <mitosis/fork/user/restore/layout.hpp>

#include "restore_capture.hpp"

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mitosis::restore::test {

struct AgentOptions {
  bool cache_local = false;
  bool refuse_adopt = false;
  bool say_go = true;  ///< false: refuse after Mapped
  bool die_before_go = false;
};

class TestAgent {
 public:
  using Options = AgentOptions;
  TestAgent(const CapturedProgram& parent, std::vector<std::uint8_t> descriptor,
            Options options = {})
      : parent_(parent), bytes_(std::move(descriptor)), options_(options) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
    mine_ = UniqueFd(pair[0]);
    theirs_ = UniqueFd(pair[1]);
    stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  }
  TestAgent(const TestAgent&) = delete;
  TestAgent& operator=(const TestAgent&) = delete;
  ~TestAgent() { finish(); }

  /// The launcher's end. Pass it on before `start`.
  [[nodiscard]] int socket() const noexcept { return theirs_.get(); }
  /// Call after the launcher is forked.
  void start() {
    theirs_.reset();
    thread_ = std::thread([this] { run(); });
  }
  /// Ends the thread.
  void finish() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }

  // To be read after `finish`.
  [[nodiscard]] const std::vector<std::uint32_t>& carried() const { return carried_; }
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  [[nodiscard]] std::size_t faults() const { return faults_; }
  [[nodiscard]] bool mapped() const { return mapped_; }

 private:
  void run() {
    while (!one_resume()) {
    }
  }

  /// Serves one resume to its end; false: it was refused, and the launcher may ask again.
  bool one_resume() {
    const local::ChannelView channel(mine_.get());
    const auto soon = [] { return local::within(std::chrono::seconds(10)); };
    auto packet = channel.receive(soon());
    if (!packet || !local::decode_packet<local::Resume>(packet->bytes)) return true;
    const UniqueFd memfd(::memfd_create("descriptor", MFD_CLOEXEC));
    (void)!::write(memfd.get(), bytes_.data(), bytes_.size());
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    cache_ = UniqueFd(::memfd_create("cache", MFD_CLOEXEC));
    std::vector<int> fds = {memfd.get(), device.get()};
    if (options_.cache_local) fds.push_back(cache_.get());
    local::ResumeOffer offer;
    offer.descriptor_bytes = bytes_.size();
    offer.has_cache = options_.cache_local;
    if (!channel.send(offer, soon(), fds)) return true;

    packet = channel.receive(soon());
    if (!packet || packet->fds.size() != 1) return true;
    auto adopt = local::decode_packet<local::Adopt>(packet->bytes);
    if (!adopt) return true;
    carried_ = adopt->carried;
    const UniqueFd uffd_owner = std::move(packet->fds[0]);
    const int uffd = uffd_owner.get();
    uffdio_api api = {};
    api.api = UFFD_API;
    api.features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
                   UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
    if (::ioctl(uffd, UFFDIO_API, &api) != 0) return true;
    const auto view = DescriptorView::parse(bytes_);
    auto mappings = layout(*view, {options_.cache_local, carried_});
    if (!mappings) return true;
    mappings_ = std::move(*mappings);
    if (::ftruncate(cache_.get(), static_cast<off_t>(cache_pages(mappings_) << page_shift)) != 0) {
      return true;
    }
    for (const auto& run : view->runs()) {
      for (std::uint32_t i = 0; i < run.count; ++i) source_[run.page + i] = run.source + i;
    }
    for (const std::uint32_t vma : carried_) {
      const auto run = carried_run(view->vmas()[vma]);
      for (std::uint32_t i = 0; i < run.count; ++i) source_[run.page + i] = run.source + i;
    }
    if (options_.refuse_adopt) {
      (void)channel.send(local::Failed{Error(Errc::budget_exceeded)}, soon());
      return false;
    }
    if (!channel.send(local::Adopted{}, soon())) return true;

    packet = channel.receive(soon());
    if (!packet) return true;
    if (auto failed = local::decode_packet<local::Failed>(packet->bytes); failed) {
      failure_ = failed->error;
      return true;
    }
    mapped_ = local::decode_packet<local::Mapped>(packet->bytes).ok();
    if (options_.die_before_go) {
      mine_.reset();
      return true;
    }
    if (!options_.say_go) {
      (void)channel.send(local::Failed{Error(Errc::page_unavailable)}, soon());
      return true;
    }
    if (!mapped_ || !channel.send(local::Go{}, soon())) return true;
    serve(uffd);
    return true;
  }

  void serve(int first) {
    std::vector<int> uffds = {first};
    std::vector<UniqueFd> forked;
    for (;;) {
      std::vector<pollfd> polls = {{stop_.get(), POLLIN, 0}};
      for (const int fd : uffds) polls.push_back({fd, POLLIN, 0});
      ::poll(polls.data(), polls.size(), -1);
      if (polls[0].revents != 0) return;
      for (std::size_t i = 1; i < polls.size(); ++i) {
        uffd_msg message = {};
        if (::read(polls[i].fd, &message, sizeof message) != ssize_t{sizeof message}) continue;
        if (message.event == UFFD_EVENT_PAGEFAULT) {
          resolve(polls[i].fd, message.arg.pagefault.address & ~(page_size - 1));
        } else if (message.event == UFFD_EVENT_FORK) {
          forked.emplace_back(static_cast<int>(message.arg.fork.ufd));
          uffds.push_back(forked.back().get());
        } else if (message.event == UFFD_EVENT_REMOVE || message.event == UFFD_EVENT_UNMAP) {
          for (std::uint64_t a = message.arg.remove.start; a < message.arg.remove.end;
               a += page_size) {
            source_.erase(a >> page_shift);
          }
        }
      }
    }
  }

  void resolve(int uffd, std::uint64_t at) {
    ++faults_;
    const auto source = source_.find(at >> page_shift);
    // EAGAIN where another thread changes mappings: once that is read, the fault comes again.
    if (source == source_.end()) {
      uffdio_zeropage zero = {};
      zero.range = {at, page_size};
      (void)::ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
    } else {
      std::uint8_t page[page_size] = {};
      if (!parent_.read(source->second << page_shift, page)) return;
      (void)install(uffd, at, page);
    }
    uffdio_range wake = {at, page_size};
    ::ioctl(uffd, UFFDIO_WAKE, &wake);
  }
  int install(int uffd, std::uint64_t at, const std::uint8_t* page) {
    for (const Mapping& m : mappings_) {
      if (m.kind != MappingKind::cache || at < m.start || at >= m.end) continue;
      const std::uint64_t offset = (m.cache_page << page_shift) + (at - m.start);
      (void)!::pwrite(cache_.get(), page, page_size, static_cast<off_t>(offset));
      if (m.faults == Faults::missing) return 0;  // the kernel finds it by itself
      uffdio_continue map = {};
      map.range = {at, page_size};
      return ::ioctl(uffd, UFFDIO_CONTINUE, &map);
    }
    uffdio_copy copy = {};
    copy.dst = at;
    copy.src = reinterpret_cast<std::uint64_t>(page);
    copy.len = page_size;
    return ::ioctl(uffd, UFFDIO_COPY, &copy);
  }

  const CapturedProgram& parent_;
  std::vector<std::uint8_t> bytes_;
  Options options_;
  UniqueFd mine_, theirs_, stop_, cache_;
  std::vector<Mapping> mappings_;
  std::map<std::uint64_t, std::uint64_t> source_;
  std::vector<std::uint32_t> carried_;
  std::optional<Error> failure_;
  std::size_t faults_ = 0;
  bool mapped_ = false;
  std::thread thread_;
};

}  // namespace mitosis::restore::test
