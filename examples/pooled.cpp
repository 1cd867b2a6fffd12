// SPDX-License-Identifier: MIT
// Two processes on two machines talk through their machines' connection pools, their agents':
//   pooled serve SOCKET            # on machine 1: exposes a page, answers one message, exits
//   pooled call SOCKET MACHINE     # on another: connects, reads the page, sends a message
// No connection is set up by either: the pools hold it.
#include <mitosis/base/describe.hpp>
#include <mitosis/net/pool/client.hpp>

#include <cstdio>
#include <cstring>
#include <string>

using namespace mitosis;

constexpr std::uint64_t service = 42;
constexpr std::size_t page = 4096;  // what is exposed, at offset 0; messages are behind it

static int fail(const Error& error) {
  return std::fprintf(stderr, "pooled: %s\n", describe(error).c_str()), 1;
}

/// Waits for the one request that is out; connection_lost and the like are its status.
static Result<pool::Completion> end(pool::Pool& pool) {
  pool::Completion done;
  auto count = pool.wait(Span<pool::Completion>(&done, 1), tcp::deadline_in(60'000));
  if (!count) return count.error();
  if (done.status != Errc::ok) return done.status;
  return done;
}

static int serve(pool::Pool& pool) {
  char* data = reinterpret_cast<char*>(pool.data().data());
  std::strcpy(data, "what is in a page of machine 1");
  if (auto done = pool.listen(service, 0, page, tcp::deadline_in(5000)); !done)
    return fail(done.error());
  std::puts("ready"), std::fflush(stdout);
  (void)pool.receive(page, page, 1);
  auto got = end(pool);
  if (!got) return fail(got.error());
  std::printf("got: %.*s\n", int(got->bytes), data + page);
  (void)pool.send(got->queue, page, got->bytes, 2);
  auto sent = end(pool);
  if (!sent) return fail(sent.error());
  (void)pool.receive(page, page, 3);  // until the caller has gone
  auto gone = end(pool);
  return gone.code() == Errc::connection_lost ? 0 : 1;
}

static int call(pool::Pool& pool, MachineId machine) {
  char* data = reinterpret_cast<char*>(pool.data().data());
  auto to = pool.connect(machine, service, tcp::deadline_in(5000));
  if (!to) return fail(to.error());
  (void)pool.read(to->queue, 0, 0, page, 1);
  if (auto read = end(pool); !read) return fail(read.error());
  std::printf("read: %s\n", data);
  std::strcpy(data + page, "hello");
  (void)pool.send(to->queue, page, 5, 2);
  if (auto sent = end(pool); !sent) return fail(sent.error());
  (void)pool.receive(2 * page, page, 3);
  if (auto echo = end(pool); !echo) return fail(echo.error());
  return std::printf("back: %.5s\n", data + 2 * page) > 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  if (what != "serve" && !(what == "call" && argc > 3)) {
    return std::fprintf(stderr, "usage: pooled serve SOCKET | pooled call SOCKET MACHINE\n"), 2;
  }
  auto pool = pool::Pool::attach(argv[2], 16 * page);
  if (!pool) return fail(pool.error());
  return what == "serve" ? serve(*pool)
                         : call(*pool, MachineId{static_cast<std::uint32_t>(std::stoul(argv[3]))});
}
