// SPDX-License-Identifier: MIT
/* The C interface of the connection pool: RDMA queues to services on other machines, in
 * microseconds, over connections that this machine's agent holds (`--fabric verbs`). World: user.
 * Link with -lmitosis. What is behind it, and its limits: docs/connection-pool.md.
 *
 *   struct mitosis_pool* pool = mitosis_pool_attach(NULL, 1 << 20);
 *   uint32_t queue;
 *   mitosis_pool_connect(pool, 1, 42, 5000, &queue, NULL);
 *   mitosis_pool_read(pool, queue, 0, 0, 4096, 7);     (one-sidedly, into mitosis_pool_data(pool))
 *   struct mitosis_pool_end end;
 *   mitosis_pool_wait(pool, &end, 1, 5000);            (7 has ended)
 *
 * One thread at a time uses a pool. Calls return 0 (or a count), or -1: then mitosis_errno() and
 * mitosis_strerror() of mitosis.h tell why. Memory is named by its offset in the shared data. */
#ifndef MITOSIS_POOL_H
#define MITOSIS_POOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mitosis_pool;

/** The end of a request. */
struct mitosis_pool_end {
  uint64_t cookie;    /**< that it was asked with */
  uint32_t status;    /**< 0, else a MITOSIS_E... of mitosis.h */
  uint32_t operation; /**< MITOSIS_POOL_... */
  uint32_t queue;
  uint32_t bytes; /**< of a message */
};
#define MITOSIS_POOL_READ 3u
#define MITOSIS_POOL_WRITE 4u
#define MITOSIS_POOL_SEND 5u
#define MITOSIS_POOL_RECEIVE 6u

/** Attaches to the pool at `socket` (NULL: $MITOSIS_SOCKET's, else /run/mitosis/agent.pool.sock)
 * with so many bytes of memory that it may read and write. NULL: an error. */
struct mitosis_pool* mitosis_pool_attach(const char* socket, size_t bytes);
/** Ends its queues and services. */
void mitosis_pool_detach(struct mitosis_pool* pool);
/** The shared data; valid until detached. */
void* mitosis_pool_data(struct mitosis_pool* pool);

/** Offers a service: others may read and write `bytes` from `offset` on, and send. */
int mitosis_pool_listen(struct mitosis_pool* pool, uint64_t service, uint64_t offset,
                        uint32_t bytes, unsigned timeout_ms);
/** A queue to a service; *exposed (may be NULL): the bytes that can be read and written there. */
int mitosis_pool_connect(struct mitosis_pool* pool, uint32_t machine, uint64_t service,
                         unsigned timeout_ms, uint32_t* queue, uint32_t* exposed);
int mitosis_pool_close(struct mitosis_pool* pool, uint32_t queue, unsigned timeout_ms);

/* Requests: each ends once, in mitosis_pool_poll or _wait, with its cookie (below 2^63). */
/** Reads what the service exposes at `remote` to `offset`. */
int mitosis_pool_read(struct mitosis_pool* pool, uint32_t queue, uint64_t remote, uint64_t offset,
                      uint32_t bytes, uint64_t cookie);
int mitosis_pool_write(struct mitosis_pool* pool, uint32_t queue, uint64_t remote, uint64_t offset,
                       uint32_t bytes, uint64_t cookie);
/** A message of up to 4 KiB. */
int mitosis_pool_send(struct mitosis_pool* pool, uint32_t queue, uint64_t offset, uint32_t bytes,
                      uint64_t cookie);
/** The next message, of whatever queue; its end names the queue to answer on. */
int mitosis_pool_receive(struct mitosis_pool* pool, uint64_t offset, uint32_t bytes,
                         uint64_t cookie);
/** Up to `count` ends, without waiting; how many. */
int mitosis_pool_poll(struct mitosis_pool* pool, struct mitosis_pool_end* ends, unsigned count);
/** The same, with at least one; -1 where none comes in time. */
int mitosis_pool_wait(struct mitosis_pool* pool, struct mitosis_pool_end* ends, unsigned count,
                      unsigned timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
