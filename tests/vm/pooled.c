// SPDX-License-Identifier: MIT
/* Usage: pooled_c call SOCKET MACHINE. What examples/pooled.cpp does as a caller, in C, for
 * pool_test.py. World: user. */
#include <mitosis/mitosis.h>
#include <mitosis/pool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { service = 42, page = 4096, patience_ms = 5000, wait_ms = 60000 };

static int fail(void) {
  fprintf(stderr, "error: %s\n", mitosis_strerror());
  return 1;
}

/* Waits for the one request that is out: 0, or what it ended with. */
static uint32_t end(struct mitosis_pool* pool, uint64_t cookie, uint32_t operation) {
  struct mitosis_pool_end end;
  if (mitosis_pool_wait(pool, &end, 1, wait_ms) != 1) return MITOSIS_ETIMED_OUT;
  if (end.cookie != cookie || end.operation != operation) return MITOSIS_EINVALID;
  return end.status;
}

int main(int argc, char** argv) {
  uint32_t queue = 0, exposed = 0;
  if (argc != 4 || strcmp(argv[1], "call") != 0) {
    fprintf(stderr, "usage: pooled_c call SOCKET MACHINE\n");
    return 2;
  }
  struct mitosis_pool* pool = mitosis_pool_attach(argv[2], 16 * page);
  if (pool == NULL) return fail();
  char* data = mitosis_pool_data(pool);
  const uint32_t machine = (uint32_t)strtoul(argv[3], NULL, 10);
  if (mitosis_pool_connect(pool, machine, service, patience_ms, &queue, &exposed) != 0) {
    return fail();
  }
  if (exposed != page) return 3;
  if (mitosis_pool_read(pool, queue, 0, 0, page, 1) != 0) return fail();
  if (end(pool, 1, MITOSIS_POOL_READ) != 0) return 4;
  printf("read: %s\n", data);
  /* Beyond what is exposed: refused, and the queue is as good as before. */
  if (mitosis_pool_read(pool, queue, 1, 0, page, 2) != 0) return fail();
  if (end(pool, 2, MITOSIS_POOL_READ) != MITOSIS_EINVALID) return 5;
  strcpy(data + page, "hello");
  if (mitosis_pool_send(pool, queue, page, 5, 3) != 0) return fail();
  if (end(pool, 3, MITOSIS_POOL_SEND) != 0) return 6;
  if (mitosis_pool_receive(pool, 2 * page, page, 4) != 0) return fail();
  if (end(pool, 4, MITOSIS_POOL_RECEIVE) != 0) return 7;
  printf("back: %.5s\n", data + 2 * page);
  if (mitosis_pool_close(pool, queue, patience_ms) != 0) return fail();
  mitosis_pool_detach(pool);
  return 0;
}
