// SPDX-License-Identifier: MIT
// The checks of verbs_fabric_test.py. World: user.
#include "verbs_checks.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <vector>

#include "verbs_peer.hpp"

namespace mitosis::vm {
namespace {

/// Every length and place, also over the borders of pieces: the owner's bytes, by RDMA.
int check_bytes(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  const std::uint64_t second = reader.fabric().counts().second;
  for (const std::uint32_t length : {1u, 4096u, 65536u, 262144u}) {
    for (const std::uint64_t offset :
         {std::uint64_t{0}, bytes / 4 - 100, bytes / 2 - 1, bytes - length}) {
      const ReadRequest r = reader.request(offset, length);
      std::fill(r.into.data, r.into.data + length, std::uint8_t{0xee});
      if (reader.read(r) != Errc::ok) return fail("a read");
      if (!Reader::right(r)) return fail("wrong bytes");
    }
  }
  if (reader.fabric().counts().second != second) return fail("not all by RDMA");
  if (reader.read(reader.request(bytes - 100, 4096)) != Errc::page_unavailable) {
    return fail("past the end of the target");
  }
  return 0;
}

/// A key that the owner's device refuses: the bytes come the other way, and are right. It is asked
/// for anew, and with the right one RDMA is used.
int check_wrong_remote_key(Reader& reader) {
  std::atomic<bool> wrong = true;
  reader.spoil = [&wrong](rpc::Piece& piece) {
    if (wrong) piece.remote_key ^= 0x5a;
  };
  for (int i = 0; i < 50; ++i) {
    const ReadRequest r = reader.request(static_cast<std::uint64_t>(i) * 8192, 4096);
    if (reader.read(r) != Errc::ok || !Reader::right(r)) return fail("a read");
    ::usleep(20'000);
  }
  if (reader.fabric().counts().moved == 0) return fail("no device has refused the key");
  wrong = false;
  for (const Time late = tcp::deadline_in(20'000); tcp::monotonic_now() < late;) {
    const auto before = reader.fabric().counts();
    const ReadRequest r = reader.request(0, 4096);
    if (reader.read(r) != Errc::ok || !Reader::right(r)) return fail("a read with the right key");
    const auto after = reader.fabric().counts();
    if (after.rdma > before.rdma && after.moved == before.moved) return 0;
  }
  return fail("the key is not asked for anew");
}
/// The right key with an address that was told to nobody.
int check_guessed_address(Reader& reader) {
  reader.spoil = [](rpc::Piece& piece) { piece.remote_address += std::uint64_t{1} << 40; };
  for (int i = 0; i < 50; ++i) {
    const ReadRequest r = reader.request(static_cast<std::uint64_t>(i) * 8192, 4096);
    if (reader.read(r) != Errc::ok || !Reader::right(r)) return fail("a read");
    ::usleep(20'000);
  }
  if (reader.fabric().counts().moved == 0) return fail("a guessed address was read");
  return 0;
}
/// Another target key: nothing is told of the target, by no way.
int check_wrong_target_key(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  ReadRequest r = reader.request(0, 4096);
  r.target.key ^= 1;
  for (int i = 0; i < 5; ++i) {
    if (reader.read(r) != Errc::revoked) return fail("a read with a wrong key");
    r.cookie += 1000;
  }
  return 0;
}

/// Every completion wakes who sleeps for it, whenever it comes: before the fabric looks for it,
/// while it gets ready to sleep, or later; and whatever the other connection has left behind.
int check_wake_ups(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  reader.patience_ms = 5000;
  for (useconds_t i = 0; i < 400; ++i) {
    ReadRequest r = reader.request(0, page_size);
    r.lane = i % 3 == 0 ? Lane::bulk : Lane::demand;
    reader.fabric().post(Span<const ReadRequest>(&r, 1));
    ::usleep(i * 37 % 2000);
    for (ReadCompletion done;;) {
      if (reader.fabric().poll(Span<ReadCompletion>(&done, 1), tcp::monotonic_now()) > 0) {
        if (done.status != Errc::ok) return fail("a read");
        break;
      }
      const bool at_once = reader.fabric().next_deadline() <= tcp::monotonic_now();
      if (!at_once && !reader.sleep()) return fail("nothing woke the reader up");
    }
  }
  return 0;
}

/// The target is revoked while reads are on their way. Once the owner has said so nothing is read.
int check_revoke(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  std::vector<ReadRequest> batch;
  for (std::uint64_t i = 0; i < 64; ++i) {
    batch.push_back(reader.request(i * 65536, 65536, i * 65536));
  }
  reader.fabric().post(batch);
  must(reader.calls().reclaim(HandlerId{1}, AuthKey{}, tcp::deadline_in(10'000)));
  std::size_t ended = 0;
  while (ended < batch.size()) {
    ReadCompletion done[16];
    const std::size_t count = reader.fabric().poll(done, tcp::monotonic_now());
    for (std::size_t i = 0; i < count; ++i) {
      const ReadRequest& r = batch[done[i].cookie - batch[0].cookie];
      if (done[i].status == Errc::ok && !Reader::right(r)) return fail("wrong bytes");
      if (done[i].status != Errc::ok && done[i].status != Errc::revoked) {
        return fail("neither read nor revoked");
      }
    }
    ended += count;
    if (count == 0) reader.sleep();
  }
  for (int i = 0; i < 20; ++i) {
    if (reader.read(reader.request(0, 4096)) != Errc::revoked) return fail("read after its end");
  }
  return 0;
}

/// A ticket that the owner has not given: rdma_cm connects nobody, and the bytes come over TCP.
int check_forged_ticket(const std::string& host) {
  Reader reader(host, true);
  reader.forge_ticket = true;
  for (int i = 0; i < 50; ++i) {
    const ReadRequest r = reader.request(0, 4096);
    if (reader.read(r) != Errc::ok || !Reader::right(r)) return fail("a read");
    ::usleep(20'000);
  }
  std::printf("%s\n", describe(reader.fabric().last_failure()).c_str());
  if (reader.fabric().reads().connections() != 0) return fail("it is connected");
  return reader.fabric().last_failure().code == Errc::machine_unreachable ? 0
                                                                          : fail("not rejected");
}

std::size_t open_files() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    count += each.path().empty() ? 0 : 1;
  }
  return count;
}
/// Memory of this process, in KiB.
std::size_t resident() {
  std::size_t all = 0, here = 0;
  std::ifstream("/proc/self/statm") >> all >> here;
  return here * page_size / 1024;
}
/// A connection after the other: each reads, none leaves anything.
int check_connections(Reader& reader, int times) {
  std::size_t files = 0, kib = 0;
  for (int i = 0; i < times; ++i) {
    if (!reader.warm_up()) return fail("no connection");
    reader.fabric().forget(owner_machine);
    if (i != 20) continue;
    files = open_files();
    kib = resident();
  }
  std::printf("descriptors: %zu then %zu; KiB: %zu then %zu\n", files, open_files(), kib,
              resident());
  if (open_files() > files + 2) return fail("descriptors are left open");
  if (resident() > kib + 1024) return fail("memory has grown");
  return 0;
}

/// The owner's machine is gone: every read ends, none later than its deadline.
int check_end(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  std::puts("reading");
  std::fflush(stdout);
  if (::creat("/run/reading", 0600) < 0) return fail("creat");
  reader.patience_ms = 4000;
  for (;;) {
    const ReadRequest r = reader.request(0, 65536);
    const Time began = tcp::monotonic_now();
    const Errc status = reader.read(r);
    const auto took =
        static_cast<std::uint64_t>(tcp::monotonic_now()) - static_cast<std::uint64_t>(began);
    if (took > 5'000'000'000) return fail("a read ended too late");
    if (status == Errc::ok) continue;
    std::printf("%s after %llu ms\n", words(status),
                static_cast<unsigned long long>(took / 1'000'000));
    return status == Errc::timed_out || status == Errc::machine_unreachable ||
                   status == Errc::connection_lost
               ? 0
               : 1;
  }
}

/// RDMA gets through no more, TCP does: the requests in flight go the other way, within 5 s each,
/// and what follows too. Then RDMA gets through again, and is used again.
int check_failover(Reader& reader) {
  if (!reader.warm_up()) return fail("no read goes by RDMA");
  if (::creat("/run/reading", 0600) < 0) return fail("creat");
  constexpr std::uint64_t batch = 16, length = 65536;
  std::uint64_t after = 0, slowest_ms = 0;
  for (const Time late = tcp::deadline_in(100'000); after < 20; ++after) {
    if (tcp::monotonic_now() > late) return fail("no request was moved");
    if (reader.fabric().counts().moved == 0) after = 0;
    std::vector<ReadRequest> requests;
    for (std::uint64_t i = 0; i < batch; ++i) {
      requests.push_back(reader.request(i * length, length, i * length));
      std::fill(requests[i].into.data, requests[i].into.data + length, std::uint8_t{0xee});
    }
    const Time began = tcp::monotonic_now();
    reader.fabric().post(requests);
    for (std::uint64_t ended = 0; ended < batch;) {
      ReadCompletion done[batch];
      const std::size_t count = reader.fabric().poll(done, tcp::monotonic_now());
      for (std::size_t i = 0; i < count; ++i) {
        if (done[i].status != Errc::ok) return fail(words(done[i].status));
      }
      ended += count;
      if (count == 0) reader.sleep();
    }
    const auto ms =
        (static_cast<std::uint64_t>(tcp::monotonic_now()) - static_cast<std::uint64_t>(began)) /
        1'000'000;
    slowest_ms = std::max(slowest_ms, ms);
    for (const ReadRequest& r : requests) {
      if (!Reader::right(r)) return fail("wrong bytes");
    }
  }
  const auto counts = reader.fabric().counts();
  std::printf("moved %llu, the slowest batch took %llu ms\n",
              static_cast<unsigned long long>(counts.moved),
              static_cast<unsigned long long>(slowest_ms));
  if (slowest_ms > 5000) return fail("a request was moved too late");
  if (::creat("/run/moved", 0600) < 0) return fail("creat");
  // One that is tried while RDMA is still away is moved too.
  for (const Time late = tcp::deadline_in(60'000); tcp::monotonic_now() < late;) {
    const std::uint64_t moved = reader.fabric().counts().moved;
    if (!reader.warm_up()) continue;
    const std::uint64_t rdma = reader.fabric().counts().rdma;
    const ReadRequest r = reader.request(0, page_size);
    if (reader.read(r) != Errc::ok || !Reader::right(r)) return fail("a read afterwards");
    const auto now = reader.fabric().counts();
    if (now.moved == moved && now.rdma > rdma) return 0;
  }
  return fail("RDMA is not used again");
}

}  // namespace

int check(std::string_view what, const std::string& host) {
  if (what == "forged_ticket") return check_forged_ticket(host);
  Reader reader(host, what == "bytes_by_cm" || what == "hundred_by_cm");
  if (what == "bytes" || what == "bytes_by_cm") return check_bytes(reader);
  if (what == "wrong_remote_key") return check_wrong_remote_key(reader);
  if (what == "guessed_address") return check_guessed_address(reader);
  if (what == "wrong_target_key") return check_wrong_target_key(reader);
  if (what == "wake_ups") return check_wake_ups(reader);
  if (what == "revoke") return check_revoke(reader);
  if (what == "thousand_connections") return check_connections(reader, 1000);
  if (what == "hundred_by_cm") return check_connections(reader, 100);
  if (what == "end") return check_end(reader);
  if (what == "failover") return check_failover(reader);
  return fail("no such check");
}

}  // namespace mitosis::vm
