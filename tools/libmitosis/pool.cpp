// SPDX-License-Identifier: MIT
// The C interface of the connection pool, over its C++ headers. World: user.
#include <mitosis/pool.h>

#include <mitosis/fork/user/local/type.hpp>
#include <mitosis/net/pool/client.hpp>
#include <mitosis/net/pool/socket_path.hpp>

#include <algorithm>
#include <new>
#include <utility>

#include "last_error.hpp"

struct mitosis_pool {
  mitosis::pool::Pool pool;
};

namespace {

using namespace mitosis;  // NOLINT: this file is all about it
using c::fail;
using c::outcome;

constexpr unsigned most_at_once = 64;
static_assert(pool::usual_agent == local::default_socket);

static_assert(MITOSIS_POOL_READ == static_cast<unsigned>(pool::Op::read) &&
              MITOSIS_POOL_WRITE == static_cast<unsigned>(pool::Op::write) &&
              MITOSIS_POOL_SEND == static_cast<unsigned>(pool::Op::send) &&
              MITOSIS_POOL_RECEIVE == static_cast<unsigned>(pool::Op::receive));

void tell(const pool::Completion& done, mitosis_pool_end& end) {
  end = {done.cookie, static_cast<std::uint32_t>(done.status), static_cast<std::uint32_t>(done.op),
         done.queue, done.bytes};
}

}  // namespace

extern "C" {

struct mitosis_pool* mitosis_pool_attach(const char* socket, size_t bytes) {
  auto attached = pool::Pool::attach(socket != nullptr ? socket : pool::usual_socket(), bytes);
  if (!attached) return fail(attached.error()), nullptr;
  auto* const made = new (std::nothrow) mitosis_pool{std::move(attached).value()};
  if (made == nullptr) fail(Error(Errc::out_of_memory));
  return made;
}

void mitosis_pool_detach(struct mitosis_pool* pool) {
  delete pool;
}

void* mitosis_pool_data(struct mitosis_pool* pool) {
  return pool->pool.data().data();
}

int mitosis_pool_listen(struct mitosis_pool* pool, uint64_t service, uint64_t offset,
                        uint32_t bytes, unsigned timeout_ms) {
  return outcome(pool->pool.listen(service, offset, bytes, tcp::deadline_in(timeout_ms)));
}

int mitosis_pool_connect(struct mitosis_pool* pool, uint32_t machine, uint64_t service,
                         unsigned timeout_ms, uint32_t* queue, uint32_t* exposed) {
  const auto to = pool->pool.connect(MachineId{machine}, service, tcp::deadline_in(timeout_ms));
  if (!to) return fail(to.error());
  *queue = to->queue;
  if (exposed != nullptr) *exposed = to->bytes;
  return 0;
}

int mitosis_pool_close(struct mitosis_pool* pool, uint32_t queue, unsigned timeout_ms) {
  return outcome(pool->pool.close(queue, tcp::deadline_in(timeout_ms)));
}

int mitosis_pool_read(struct mitosis_pool* pool, uint32_t queue, uint64_t remote, uint64_t offset,
                      uint32_t bytes, uint64_t cookie) {
  return outcome(pool->pool.read(queue, remote, offset, bytes, cookie));
}

int mitosis_pool_write(struct mitosis_pool* pool, uint32_t queue, uint64_t remote, uint64_t offset,
                       uint32_t bytes, uint64_t cookie) {
  return outcome(pool->pool.write(queue, remote, offset, bytes, cookie));
}

int mitosis_pool_send(struct mitosis_pool* pool, uint32_t queue, uint64_t offset, uint32_t bytes,
                      uint64_t cookie) {
  return outcome(pool->pool.send(queue, offset, bytes, cookie));
}

int mitosis_pool_receive(struct mitosis_pool* pool, uint64_t offset, uint32_t bytes,
                         uint64_t cookie) {
  return outcome(pool->pool.receive(offset, bytes, cookie));
}

int mitosis_pool_poll(struct mitosis_pool* pool, struct mitosis_pool_end* ends, unsigned count) {
  pool::Completion done[most_at_once];
  const std::size_t got =
      pool->pool.poll(Span<pool::Completion>(done, std::min(count, most_at_once)));
  for (std::size_t i = 0; i < got; ++i) tell(done[i], ends[i]);
  return static_cast<int>(got);
}

int mitosis_pool_wait(struct mitosis_pool* pool, struct mitosis_pool_end* ends, unsigned count,
                      unsigned timeout_ms) {
  pool::Completion done[most_at_once];
  const auto got = pool->pool.wait(Span<pool::Completion>(done, std::min(count, most_at_once)),
                                   tcp::deadline_in(timeout_ms));
  if (!got) return fail(got.error());
  for (std::size_t i = 0; i < *got; ++i) tell(done[i], ends[i]);
  return static_cast<int>(*got);
}

}  // extern "C"
