// SPDX-License-Identifier: MIT
// PoolServer: a machine's connection pool: holds a connection to each other machine's, and lets the
// processes of this one use them. World: user.
// One thread does all that is quick (rings, completions, attaching); another sets links up.
#pragma once

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/pool/switchboard.hpp>
#include <mitosis/net/rpc/connect.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/verbs/pool_link.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class PoolServer {
 public:
  struct Options {
    std::string socket;         ///< where processes attach
    std::string listen = ":0";  ///< where other pools call; the machine with the smaller id does
    std::size_t max_processes = 256;
    std::uint64_t spin_us = 200;  ///< without anything to do, before its thread sleeps
    std::function<void(const Error&)> on_trouble = {};  ///< of links; any of its threads calls it
  };

  /// `book` tells where the other pools are; machines may be added to it at any time.
  static Result<std::unique_ptr<PoolServer>> start(const ChosenGid& at, Options options,
                                                   auth::Identity self,
                                                   const tcp::AddressBook& book);
  PoolServer(const PoolServer&) = delete;
  PoolServer& operator=(const PoolServer&) = delete;
  ~PoolServer() { stop(); }

  /// Ends all links, and every process's share.
  void stop() {
    closing_.store(true);
    poke();
    if (linker_.joinable()) linker_.join();
    if (worker_.joinable()) worker_.join();
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return tcp::local_port(tcp_.get()); }
  /// Machines to which there is a connection now.
  [[nodiscard]] std::size_t links() const noexcept { return up_.load(); }

  // What the switchboard asks for; its thread's alone.
  [[nodiscard]] bool up(MachineId machine) const { return links_.contains(machine); }
  void send(MachineId machine, std::vector<std::uint8_t> bytes) {
    links_.at(machine).link->send(std::move(bytes));
  }
  void transfer(MachineId machine, const pool::Transfer& t) {
    links_.at(machine).link->transfer(t, *processes_.at(t.process).region);
  }
  [[nodiscard]] pool::Region region(pool::ProcessId id) const {
    const Process& process = processes_.at(id);
    return {reinterpret_cast<std::uint64_t>(process.region->data()), process.region->size(),
            process.region->get()->rkey};
  }
  void release(pool::ProcessId id) { processes_.erase(id); }

 private:
  struct Process {
    UniqueFd socket, doorbell, wake;
    std::uint8_t* base = nullptr;
    std::size_t bytes = 0;
    std::optional<MemoryRegion> region;
    Process() = default;
    Process(Process&&) = delete;
    ~Process() {
      region.reset();
      if (base != nullptr) ::munmap(base, bytes);
    }
  };
  struct Link {
    std::unique_ptr<PoolLink> link;
    UniqueFd tcp;
  };
  /// Has connected, and not sent its packet yet. Nobody else waits for it.
  struct Comer {
    UniqueFd socket;
    Time deadline;
  };
  static constexpr std::size_t max_comers = 64;
  static constexpr std::uint64_t comer_ms = 10'000;
  static constexpr int max_links = 32;  ///< their completions have room in one queue
  static constexpr std::uint64_t setup_ms = 3000;

  PoolServer(const ChosenGid& at, Options options, auth::Identity self,
             const tcp::AddressBook& book)
      : at_(at), options_(std::move(options)), self_(std::move(self)), book_(&book) {}

  Result<void> open();
  Result<UniqueFd> listen_locally() const;
  void work();
  bool complete();
  void sleep();
  void attach(UniqueFd socket);
  void take_new_links();
  void drop_link(MachineId machine, const Error& why);
  PoolLink* link_of(std::uint32_t queue_pair, MachineId& machine);
  void wake_processes();

  void link_all();
  Result<void> call(MachineId machine, const tcp::Address& address);
  Result<void> answer(UniqueFd fd);
  Result<void> meet(tcp::FrameStream& stream, MachineId machine, UniqueFd& fd, bool first,
                    Time deadline);

  void poke() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(doorbell_.get(), &one, sizeof one));
  }
  static void clear(const UniqueFd& event) noexcept {
    std::uint64_t count = 0;
    static_cast<void>(!::read(event.get(), &count, sizeof count));
  }
  void trouble(Error error, const char* step) {
    if (options_.on_trouble) options_.on_trouble(error.in(step));
  }

  ChosenGid at_;
  Options options_;
  auth::Identity self_;
  const tcp::AddressBook* book_;
  UniqueFd local_, tcp_, doorbell_;
  // In this order: each ends before what it was made of.
  std::optional<Context> context_;
  std::optional<ProtectionDomain> domain_;
  std::optional<EventChannel> channel_;
  std::optional<CompletionQueue> sent_, received_;
  std::map<pool::ProcessId, Process> processes_;
  std::map<MachineId, Link> links_;
  std::vector<Comer> comers_;  ///< oldest first
  pool::Switchboard<PoolServer> board_{*this};
  pool::ProcessId last_process_ = 0;
  std::atomic<std::size_t> up_{0};

  std::mutex mutex_;
  std::vector<std::pair<MachineId, Link>> new_links_;  ///< guarded by mutex_, as is
  std::set<MachineId> linked_;                         ///< links that are up, or about to be
  std::atomic<bool> any_new_{false};
  std::atomic<bool> closing_{false};
  std::thread linker_, worker_;
};

// -- start ----------------------------------------------------------------------------------------

inline Result<std::unique_ptr<PoolServer>> PoolServer::start(const ChosenGid& at, Options options,
                                                             auth::Identity self,
                                                             const tcp::AddressBook& book) {
  std::unique_ptr<PoolServer> server(new PoolServer(at, std::move(options), std::move(self), book));
  if (Result<void> opened = server->open(); !opened.ok()) {
    return opened.error().in("start a connection pool");
  }
  try {
    server->worker_ = std::thread([s = server.get()] { s->work(); });
    server->linker_ = std::thread([s = server.get()] { s->link_all(); });
  } catch (const std::system_error& error) {
    return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
  }
  return server;
}

inline Result<void> PoolServer::open() {
  const auto keep = [](auto& place, auto made) -> Result<void> {
    if (!made.ok()) return made.error();
    place.emplace(std::move(made).value());
    return {};
  };
  const int entries = max_links * static_cast<int>(PoolLink::slots);
  Result<void> done = keep(context_, Context::open(at_.device.c_str()));
  if (done.ok()) done = keep(domain_, ProtectionDomain::make(*context_));
  if (done.ok()) done = keep(channel_, EventChannel::make(*context_));
  if (done.ok()) done = keep(sent_, CompletionQueue::make(*context_, 2 * entries, &*channel_));
  if (done.ok()) done = keep(received_, CompletionQueue::make(*context_, entries, &*channel_));
  if (!done.ok()) return done;
  doorbell_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!doorbell_) return Error(Errc::system_call_failed, "eventfd", errno);
  Result<tcp::Address> address = tcp::resolve(options_.listen);
  if (!address.ok()) return address.error();
  Result<UniqueFd> listener = tcp::listen_on(*address);
  if (!listener.ok()) return listener.error();
  tcp_ = std::move(listener).value();
  Result<UniqueFd> local = listen_locally();
  if (!local.ok()) return local.error();
  local_ = std::move(local).value();
  return {};
}

inline Result<UniqueFd> PoolServer::listen_locally() const {
  const std::string& path = options_.socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error(Errc::invalid_argument, (path + ": not a path for a socket").c_str());
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error(Errc::system_call_failed, "socket", errno);
  // One of a pool that was killed is in the way; one that is answered belongs to somebody.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return Error(Errc::address_in_use, (path + ": another pool serves there").c_str());
  }
  ::unlink(path.c_str());
  fd = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 64) != 0) {
    return Error(Errc::system_call_failed, path.c_str(), errno);
  }
  return fd;
}

// -- the thread that serves -----------------------------------------------------------------------

inline void PoolServer::work() {
  Time spin_until = tcp::monotonic_now() + options_.spin_us * 1000;
  Time look = Time{0};
  while (!closing_.load()) {
    const Time now = tcp::monotonic_now();
    if (any_new_.load()) take_new_links();
    const bool asked = board_.step();
    const bool busy = complete() || asked;
    wake_processes();
    if (busy) spin_until = now + options_.spin_us * 1000;
    // Sockets are looked at now and then while it is busy, and each time it sleeps.
    if (now >= spin_until || now >= look) {
      sleep();
      look = now + 1'000'000;
    }
  }
  while (!links_.empty()) drop_link(links_.begin()->first, Error(Errc::shutting_down));
  for (auto at = processes_.begin(); at != processes_.end();) {
    const pool::ProcessId id = (at++)->first;
    board_.detach(id);
  }
  processes_.clear();
}

/// Ends of requests and messages that have come.
inline bool PoolServer::complete() {
  ibv_wc done[32];
  bool any = false;
  for (const CompletionQueue* queue : {&*sent_, &*received_}) {
    const Result<std::size_t> count = queue->poll(Span<ibv_wc>(done));
    if (!count.ok()) {
      trouble(count.error(), "serve a connection pool");
      closing_.store(true);
      return false;
    }
    for (std::size_t i = 0; i < *count; ++i) {
      any = true;
      MachineId machine = MachineId::none;
      PoolLink* const link = link_of(done[i].qp_num, machine);
      if (link == nullptr) continue;  // of one that was dropped
      if (done[i].status != IBV_WC_SUCCESS) {
        drop_link(machine, Error(Errc::connection_lost, words(done[i].status)));
        continue;
      }
      bool broken = false;
      if (queue == &*received_) {
        const auto slot = static_cast<std::uint32_t>(done[i].wr_id);
        board_.on_message(machine, link->received(slot, done[i].byte_len));
        broken = !link->took(slot).ok();
      } else if (const std::uint64_t tag = link->ended(done[i].wr_id); tag != 0) {
        board_.on_transferred(tag, Errc::ok);
      }
      if (broken || link->broken()) drop_link(machine, Error(Errc::connection_lost));
    }
  }
  return any;
}

inline PoolLink* PoolServer::link_of(std::uint32_t queue_pair, MachineId& machine) {
  for (auto& [id, link] : links_) {
    if (link.link->number() != queue_pair) continue;
    machine = id;
    return link.link.get();
  }
  return nullptr;
}

/// Its queue pair ends first: after that nothing lands in anybody's memory.
inline void PoolServer::drop_link(MachineId machine, const Error& why) {
  links_.erase(machine);
  up_.store(links_.size());
  board_.on_link_lost(machine);
  {
    const std::lock_guard lock(mutex_);
    linked_.erase(machine);
  }
  if (why.code != Errc::shutting_down) trouble(Error(why).at_machine(machine), "hold a connection");
}

inline void PoolServer::take_new_links() {
  any_new_.store(false);
  std::vector<std::pair<MachineId, Link>> links;
  {
    const std::lock_guard lock(mutex_);
    links.swap(new_links_);
  }
  for (auto& [machine, link] : links) {
    if (links_.contains(machine)) drop_link(machine, Error(Errc::shutting_down));
    links_.insert_or_assign(machine, std::move(link));
    const std::lock_guard lock(mutex_);
    linked_.insert(machine);
  }
  up_.store(links_.size());
}

inline void PoolServer::wake_processes() {
  for (const pool::ProcessId id : board_.take_told()) {
    const auto found = processes_.find(id);
    pool::Area* const area = board_.area(id);
    if (found == processes_.end() || area == nullptr) continue;
    if (area->process_sleeps.load(std::memory_order_seq_cst) == 0) continue;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(found->second.wake.get(), &one, sizeof one));
  }
}

/// Looks at all descriptors, and sleeps where nothing else is to be done.
inline void PoolServer::sleep() {
  for (auto& [id, process] : processes_) {
    if (pool::Area* const area = board_.area(id)) {
      area->pool_sleeps.store(1, std::memory_order_seq_cst);
    }
  }
  channel_->drain();
  const bool armed = sent_->arm().ok() && received_->arm().ok();
  const bool idle = armed && !complete() && board_.idle() && !any_new_.load();
  wake_processes();
  std::vector<pollfd> waiting = {
      {local_.get(), POLLIN, 0}, {doorbell_.get(), POLLIN, 0}, {channel_->fd(), POLLIN, 0}};
  std::vector<pool::ProcessId> ids;
  for (const auto& [id, process] : processes_) {
    if (!process.socket) continue;
    ids.push_back(id);
    waiting.push_back({process.socket.get(), POLLIN, 0});
    waiting.push_back({process.doorbell.get(), POLLIN, 0});
  }
  const std::size_t comers = comers_.size();
  for (const Comer& comer : comers_) waiting.push_back({comer.socket.get(), POLLIN, 0});
  std::vector<MachineId> machines;
  for (const auto& [machine, link] : links_) {
    machines.push_back(machine);
    waiting.push_back({link.tcp.get(), POLLIN, 0});
  }
  static_cast<void>(::poll(waiting.data(), waiting.size(), idle ? 1000 : 0));
  for (auto& [id, process] : processes_) {
    if (pool::Area* const area = board_.area(id)) {
      area->pool_sleeps.store(0, std::memory_order_relaxed);
    }
  }
  clear(doorbell_);
  // Neither a process nor another pool says anything on its socket: it is its end.
  const pollfd* at = waiting.data() + 3;
  for (const pool::ProcessId id : ids) {
    Process& process = processes_.at(id);
    if (at[1].revents != 0) clear(process.doorbell);
    if (at[0].revents != 0) {
      process.socket.reset();
      board_.detach(id);
    }
    at += 2;
  }
  const Time now = tcp::monotonic_now();
  for (std::size_t i = 0; i < comers; ++i) {
    if ((at++)->revents != 0) attach(std::move(comers_[i].socket));
  }
  std::erase_if(comers_,
                [now](const Comer& comer) { return !comer.socket || now >= comer.deadline; });
  for (const MachineId machine : machines) {
    const bool ended = (at++)->revents != 0;
    if (!ended || !links_.contains(machine)) continue;
    drop_link(machine, Error(Errc::connection_lost, "the other pool has ended"));
  }
  if (waiting[0].revents != 0) {
    UniqueFd socket(::accept4(local_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (comers_.size() >= max_comers) comers_.erase(comers_.begin());
    if (socket) comers_.push_back({std::move(socket), tcp::deadline_in(comer_ms)});
  }
}

/// A process comes: its packet is there.
inline void PoolServer::attach(UniqueFd socket) {
  pool::AttachPacket packet;
  const Result<void> came = pool::receive_attach(socket.get(), packet, tcp::monotonic_now());
  const auto refuse = [&socket](Errc why) {
    pool::Attach said;
    said.status = why;
    static_cast<void>(pool::send_attach(socket.get(), said, {}));
  };
  if (!came.ok()) return refuse(came.code());
  if (processes_.size() >= options_.max_processes) return refuse(Errc::limit_exceeded);
  const Result<std::size_t> bytes = pool::check_area(packet.fds[0].get());
  if (!bytes.ok()) return refuse(bytes.code());
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  void* const base =
      ::mmap(nullptr, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0].get(), 0);
  // A doorbell of its own: who takes it away from the pool hurts nobody else.
  UniqueFd doorbell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake || !doorbell || base == MAP_FAILED) {
    if (base != MAP_FAILED) ::munmap(base, *bytes);
    return refuse(Errc::out_of_memory);
  }
  const pool::ProcessId id = ++last_process_;
  Process& process = processes_[id];
  process.base = static_cast<std::uint8_t*>(base);
  process.bytes = *bytes;
  const MutableBytes data(process.base + pool::data_at, *bytes - pool::data_at);
  Result<MemoryRegion> region =
      MemoryRegion::make(*domain_, data, MemoryRegion::for_remote_reads_and_writes);
  const int fds[2] = {doorbell.get(), wake.get()};
  if (!region.ok() || !pool::send_attach(socket.get(), {}, Span<const int>(fds)).ok()) {
    if (!region.ok()) refuse(region.code());
    processes_.erase(id);
    return;
  }
  process.region.emplace(std::move(region).value());
  process.socket = std::move(socket);
  process.doorbell = std::move(doorbell);
  process.wake = std::move(wake);
  board_.attach(id, *std::launder(reinterpret_cast<pool::Area*>(base)), data);
}

// -- the thread that sets links up ----------------------------------------------------------------

inline void PoolServer::link_all() {
  Time again = Time{0};
  while (!closing_.load()) {
    if (tcp::monotonic_now() >= again) {
      for (const auto& [machine, text] : book_->list()) {
        {
          const std::lock_guard lock(mutex_);
          if (machine <= self_.machine || linked_.contains(machine)) continue;
        }
        const auto address = book_->find(machine);
        if (!address || closing_.load()) continue;
        if (Result<void> called = call(machine, *address); !called.ok()) {
          trouble(Error(called.error()).at_machine(machine), "connect to another pool");
        }
      }
      again = tcp::deadline_in(1000);
    }
    pollfd waiting{tcp_.get(), POLLIN, 0};
    static_cast<void>(::poll(&waiting, 1, 100));
    if (waiting.revents == 0) continue;
    UniqueFd fd(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    if (Result<void> answered = answer(std::move(fd)); !answered.ok()) {
      trouble(answered.error(), "answer another pool");
    }
  }
}

inline Result<void> PoolServer::call(MachineId machine, const tcp::Address& address) {
  const Time deadline = tcp::deadline_in(setup_ms);
  Result<UniqueFd> fd = tcp::start_connect(address);
  if (!fd.ok()) return fd.error();
  if (Result<void> done = rpc::finish_connect(fd->get(), address, deadline); !done.ok())
    return done;
  tcp::FrameStream stream(fd->get());
  auth::ClientHandshake handshake(self_, machine, auth::Purpose::rpc);
  if (Result<MachineId> peer = tcp::handshake_as_client(stream, handshake, deadline); !peer.ok()) {
    return peer.error();
  }
  return meet(stream, machine, *fd, /*first=*/true, deadline);
}

inline Result<void> PoolServer::answer(UniqueFd fd) {
  const Time deadline = tcp::deadline_in(setup_ms);
  tcp::tune(fd.get());
  tcp::FrameStream stream(fd.get());
  Result<auth::Hello> hello = tcp::handshake_as_server(stream, self_, deadline);
  if (!hello.ok()) return hello.error();
  return meet(stream, hello->machine, fd, /*first=*/false, deadline);
}

/// Both tell their ends and raise them; each says when it may be sent to, and waits for the other.
inline Result<void> PoolServer::meet(tcp::FrameStream& stream, MachineId machine, UniqueFd& fd,
                                     bool first, Time deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (linked_.size() >= max_links && !linked_.contains(machine)) {
      return Error(Errc::limit_exceeded, "links of a connection pool");
    }
  }
  Result<std::unique_ptr<PoolLink>> link =
      PoolLink::make({*context_, *domain_, *sent_, *received_, at_});
  if (!link.ok()) return link.error();
  const Result<LinkEnd> mine = (*link)->end();
  if (!mine.ok()) return mine.error();
  const auto told = [&]() { return stream.send(wire::make_frame(*mine), deadline); };
  if (first) {
    if (Result<void> sent = told(); !sent.ok()) return sent;
  }
  Result<wire::Frame> frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return frame.error();
  const Result<LinkEnd> other = frame->as<LinkEnd>();
  if (!other.ok()) return other.error();
  if (Result<void> raised = (*link)->raise(*other); !raised.ok()) return raised;
  if (!first) {
    if (Result<void> sent = told(); !sent.ok()) return sent;
  }
  if (Result<void> sent = stream.send(wire::make_frame(LinkReady{}), deadline); !sent.ok()) {
    return sent;
  }
  frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return frame.error();
  if (!frame->is<LinkReady>()) return Error(Errc::bad_message, "not ready");
  {
    const std::lock_guard lock(mutex_);
    linked_.insert(machine);
    new_links_.emplace_back(machine, Link{std::move(*link), std::move(fd)});
    any_new_.store(true);
  }
  poke();
  return {};
}

}  // namespace mitosis::verbs
