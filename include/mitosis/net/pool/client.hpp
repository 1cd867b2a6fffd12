// SPDX-License-Identifier: MIT
// Pool: a process's share of its machine's connection pool: queues to services on other machines,
// without setting up any connection of its own. World: user; needs no RDMA library.
// The pool's process holds the connections; this one writes requests into memory that both share.
#pragma once

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/pool/area.hpp>
#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace mitosis::pool {

/// A queue to a service.
struct Connected {
  std::uint32_t queue = 0;
  std::uint32_t bytes = 0;  ///< that the service exposes to reads and writes
};

/// One thread at a time; not to be used across fork(). All bytes that are transferred are of
/// `data()`, named by their offset. Every request that was taken ends once, in `poll` or `wait`,
/// with the cookie that it was given; at most `max_requests` are out at a time (limit_exceeded).
class Pool {
 public:
  /// `data_bytes` are shared with the pool, at most 256 MiB. agent_not_running: no pool is there;
  /// transport_unsupported: its agent has none for now (its device has gone) or at all (iWARP);
  /// missing_privilege: its socket may not be written to; timed_out: it has not answered for
  /// `patience_ms`, or twice that where many want to attach.
  static Result<Pool> attach(const std::string& socket_path, std::size_t data_bytes,
                             std::uint64_t patience_ms = 10'000);
  Pool(Pool&&) = default;
  Pool& operator=(Pool&&) = default;

  [[nodiscard]] MutableBytes data() const noexcept {
    return MutableBytes(mapping_->base + data_at, mapping_->bytes - data_at);
  }
  /// Offers a service under a number that is this machine's only one; callers may read and write
  /// `bytes` of `data()` from `offset` on for as long as this process lives.
  Result<void> listen(std::uint64_t service, std::uint64_t offset, std::uint32_t bytes,
                      Time deadline) {
    Request request;
    request.op = Op::listen;
    request.service = service;
    request.offset = offset;
    request.bytes = bytes;
    const Result<Completion> end = finish(request, deadline);
    return end.ok() ? Result<void>() : end.error();
  }
  /// unknown_handler: there is no such service; machine_unreachable: no connection is held to
  /// there.
  Result<Connected> connect(MachineId machine, std::uint64_t service, Time deadline) {
    Request request;
    request.op = Op::connect;
    request.machine = static_cast<std::uint32_t>(machine);
    request.service = service;
    const Result<Completion> end = finish(request, deadline);
    if (!end.ok()) return Error(end.error()).at_machine(machine);
    return Connected{end->queue, end->bytes};
  }
  Result<void> close(std::uint32_t queue, Time deadline) {
    Request request;
    request.op = Op::close;
    request.queue = queue;
    const Result<Completion> end = finish(request, deadline);
    return end.ok() ? Result<void>() : end.error();
  }

  /// Reads `bytes` at `remote` of what the service exposes, one-sidedly.
  Result<void> read(std::uint32_t queue, std::uint64_t remote, std::uint64_t offset,
                    std::uint32_t bytes, std::uint64_t cookie) {
    return post(Op::read, queue, offset, bytes, cookie, remote);
  }
  Result<void> write(std::uint32_t queue, std::uint64_t remote, std::uint64_t offset,
                     std::uint32_t bytes, std::uint64_t cookie) {
    return post(Op::write, queue, offset, bytes, cookie, remote);
  }
  /// Sends a message of up to `max_message` bytes. Its end, ok, says that it was handed over: while
  /// the queue is not lost, it arrives, in order.
  Result<void> send(std::uint32_t queue, std::uint64_t offset, std::uint32_t bytes,
                    std::uint64_t cookie) {
    return post(Op::send, queue, offset, bytes, cookie, 0);
  }
  /// Has the next message, of whatever queue, come to `offset`. Its end names the queue; one that
  /// is connection_lost tells that the other side of that queue is gone.
  Result<void> receive(std::uint64_t offset, std::uint32_t bytes, std::uint64_t cookie) {
    return post(Op::receive, 0, offset, bytes, cookie, 0);
  }

  /// What has ended, without waiting; how many.
  std::size_t poll(Span<Completion> done) {
    std::size_t count = 0;
    while (count < done.size()) {
      if (!kept_.empty()) {
        done[count++] = kept_.front();
        kept_.pop_front();
      } else if (!take(done[count])) {
        break;
      } else if (!given_up(done[count])) {
        ++count;
      }
    }
    return count;
  }
  /// The same, with at least one. timed_out; connection_lost: the pool is gone, attach again.
  Result<std::size_t> wait(Span<Completion> done, Time deadline) {
    const Time spin_until = tcp::monotonic_now() + spin_ns;
    for (;;) {
      if (const std::size_t count = poll(done); count > 0) return count;
      const Time now = tcp::monotonic_now();
      if (now >= deadline) return Error(Errc::timed_out).in("wait for the connection pool");
      if (now < spin_until) continue;
      if (Result<void> slept = sleep(deadline); !slept.ok()) return slept.error();
    }
  }

 private:
  static constexpr std::uint64_t own_cookies = std::uint64_t{1} << 63;
  static constexpr std::uint64_t spin_ns = 100'000;

  /// Unmaps itself.
  struct Mapping {
    std::uint8_t* base = nullptr;
    std::size_t bytes = 0;
    ~Mapping() {
      if (base != nullptr) ::munmap(base, bytes);
    }
  };

  Pool(UniqueFd socket, UniqueFd doorbell, UniqueFd wake, std::unique_ptr<Mapping> mapping)
      : socket_(std::move(socket)),
        doorbell_(std::move(doorbell)),
        wake_(std::move(wake)),
        mapping_(std::move(mapping)) {}

  [[nodiscard]] Area& area() const noexcept {
    return *std::launder(reinterpret_cast<Area*>(mapping_->base));
  }
  bool take(Completion& one) {
    if (!area().completions.pop(one)) return false;
    --outstanding_;
    return true;
  }
  /// The end of a call whose deadline had passed: nobody waits for it, nor for the queue it made.
  bool given_up(const Completion& one) {
    if ((one.cookie & own_cookies) == 0) return false;
    if (one.op == Op::connect && one.status == Errc::ok) {
      Request request;
      request.cookie = own_cookies;
      request.op = Op::close;
      request.queue = one.queue;
      static_cast<void>(submit(request));
    }
    return true;
  }
  Result<void> post(Op op, std::uint32_t queue, std::uint64_t offset, std::uint32_t bytes,
                    std::uint64_t cookie, std::uint64_t remote) {
    if ((cookie & own_cookies) != 0) {
      return Error(Errc::invalid_argument, "a cookie's highest bit must not be set");
    }
    Request request;
    request.cookie = cookie;
    request.op = op;
    request.queue = queue;
    request.offset = offset;
    request.bytes = bytes;
    request.remote = remote;
    return submit(request);
  }
  Result<void> submit(const Request& request) {
    // As many ends have room in the other ring.
    if (outstanding_ >= max_requests || !area().requests.push(request)) {
      return Error(Errc::limit_exceeded, "requests to the connection pool");
    }
    ++outstanding_;
    if (area().pool_sleeps.load(std::memory_order_seq_cst) != 0) {
      static_cast<void>(!::write(doorbell_.get(), "", 1));  // full: it is readable anyway
    }
    return {};
  }
  /// Submits and waits for its end; other ends are kept for `poll`.
  Result<Completion> finish(Request& request, Time deadline) {
    request.cookie = own_cookies | ++last_own_;
    if (Result<void> posted = submit(request); !posted.ok()) return posted.error();
    const Time spin_until = tcp::monotonic_now() + spin_ns;
    for (;;) {
      Completion one;
      while (take(one)) {
        if (one.cookie == request.cookie) {
          if (one.status != Errc::ok) return Error(one.status).in("connection pool");
          return one;
        }
        if (!given_up(one)) kept_.push_back(one);
      }
      const Time now = tcp::monotonic_now();
      if (now >= deadline) return Error(Errc::timed_out).in("wait for the connection pool");
      if (now < spin_until) continue;
      if (Result<void> slept = sleep(deadline); !slept.ok()) return slept.error();
    }
  }
  Result<void> sleep(Time deadline) {
    area().process_sleeps.store(1, std::memory_order_seq_cst);
    pollfd waiting[2] = {{wake_.get(), POLLIN, 0}, {socket_.get(), POLLIN, 0}};
    if (area().completions.empty()) {
      static_cast<void>(::poll(waiting, 2, tcp::timeout_ms(deadline, tcp::monotonic_now())));
    }
    area().process_sleeps.store(0, std::memory_order_relaxed);
    char wakes[64];
    static_cast<void>(!::read(wake_.get(), wakes, sizeof wakes));
    if (waiting[1].revents != 0 && area().completions.empty()) {
      return Error(Errc::connection_lost, "the connection pool has ended").in("wait");
    }
    return {};
  }

  UniqueFd socket_;  ///< says nothing: the pool learns by its end that this process is gone
  UniqueFd doorbell_, wake_;
  std::unique_ptr<Mapping> mapping_;
  std::deque<Completion> kept_;
  std::uint32_t outstanding_ = 0;
  std::uint64_t last_own_ = 0;
};

inline Result<Pool> Pool::attach(const std::string& socket_path, std::size_t data_bytes,
                                 std::uint64_t patience_ms) {
  const auto failed = [&socket_path](Errc code, const char* what, int err) {
    return Error(code, (socket_path + ": " + what).c_str(), err).in("attach to a connection pool");
  };
  if (data_bytes == 0 || data_bytes > max_data) {
    return failed(Errc::invalid_argument, "1 byte to 256 MiB can be shared", 0);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return failed(Errc::invalid_argument, "the path is too long", 0);
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return failed(Errc::system_call_failed, "socket", errno);
  const timeval patience = {static_cast<time_t>(patience_ms / 1000),
                            static_cast<suseconds_t>(patience_ms % 1000 * 1000)};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
         0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return failed(Errc::timed_out, "nobody takes those who attach", 0);
    return errno == EACCES
               ? failed(Errc::missing_privilege, "only who may write to it may attach", errno)
               : failed(Errc::agent_not_running, "no connection pool, which `--fabric verbs` has",
                        errno);
  }
  Result<UniqueFd> memory = make_area(data_at + data_bytes);
  if (!memory.ok()) return memory.error();
  auto mapping = std::make_unique<Mapping>();
  void* const base =
      ::mmap(nullptr, data_at + data_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->get(), 0);
  if (base == MAP_FAILED) return failed(Errc::out_of_memory, "mmap", errno);
  mapping->base = static_cast<std::uint8_t*>(base);
  mapping->bytes = data_at + data_bytes;
  ::new (base) Area();
  const int fd = memory->get();
  if (Result<void> sent = send_attach(socket.get(), Attach{}, Span<const int>(&fd, 1));
      !sent.ok()) {
    return sent.error();
  }
  AttachPacket answer;
  if (Result<void> came = receive_attach(socket.get(), answer, tcp::deadline_in(patience_ms));
      !came.ok()) {
    return failed(came.code(),
                  "no pool of this version answers; the agent's log says whether it holds one", 0);
  }
  if (answer.said.status == Errc::transport_unsupported) {
    return failed(Errc::transport_unsupported,
                  "its agent holds no connection pool: its RDMA device has gone, or is iWARP", 0);
  }
  if (answer.said.status != Errc::ok) return failed(answer.said.status, "refused", 0);
  if (!answer.fds[0] || !answer.fds[1]) return failed(Errc::bad_message, "no descriptors came", 0);
  return Pool(std::move(socket), std::move(answer.fds[0]), std::move(answer.fds[1]),
              std::move(mapping));
}

}  // namespace mitosis::pool
