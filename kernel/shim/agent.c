// SPDX-License-Identifier: MIT OR GPL-2.0
// A parent that another machine's agent keeps, for children of this one. World: kernel.
// What is said to the agent is the C++'s (fork/kernel/agent_calls.hpp); here are the connections.
// A session is made for each call: an agent serves a bounded number of them, and calls are few.
#include <linux/err.h>
#include <linux/inet.h>

#include "agent.h"

enum { MAX_OWNERS = 64, RENEWALS = 3 };  // renewals within a lease

struct mitosis_agent {
  struct kref references;
  struct sockaddr_in address;
  u32 machine;
  u64 handler;
  struct mitosis_fetched fetched;
  struct delayed_work renewal;
  u32 lane_count;
  struct mitosis_lane* lanes;  // by the descriptor's owners
};

// -- calls ---------------------------------------------------------------------------------------

static int open_session(const struct sockaddr_in* to, u32 machine, struct mitosis_socket** into) {
  int error = mitosis_socket_connect(to, MITOSIS_CALL_MS, into);

  if (error) return error;
  error = mitosis_core_greet(*into, MITOSIS_CALLS, machine);
  if (error)
    mitosis_socket_close(*into);
  else
    mitosis_socket_patience(*into, MITOSIS_CALL_MS);
  return error;
}

int mitosis_agent_ping(const struct sockaddr_in* to, u32 machine) {
  struct mitosis_socket* session;
  sigset_t before;
  int error;

  if (!mitosis_has_mac()) return -ECONNREFUSED;
  mitosis_signals_block(&before);
  error = open_session(to, machine, &session);
  if (!error) {
    error = mitosis_core_ping(session, 1);
    mitosis_socket_close(session);
  }
  mitosis_signals_restore(&before);
  return error;
}

// No more than once a second, whatever the agent says.
static unsigned long renewal_in(const struct mitosis_agent* a) {
  const u64 lease_ms = min_t(u64, a->fetched.lease_ms, 3600 * MSEC_PER_SEC);

  return max_t(unsigned long, HZ, msecs_to_jiffies(lease_ms / RENEWALS));
}

// One that fails is tried again the next time.
static void renew(struct work_struct* work) {
  struct mitosis_agent* a = container_of(to_delayed_work(work), struct mitosis_agent, renewal);
  struct mitosis_socket* session;

  if (!open_session(&a->address, a->machine, &session)) {
    mitosis_core_renew(session, 1, a->handler, a->fetched.generation, &a->fetched.lease_ms);
    mitosis_socket_close(session);
  }
  if (a->fetched.lease_ms) queue_delayed_work(system_long_wq, &a->renewal, renewal_in(a));
}

// -- the owners ----------------------------------------------------------------------------------

// Where an owner is: who was asked, where this machine was told that it is, or where it says.
static int address_of(const struct mitosis_agent* a, const struct mitosis_owner* owner,
                      struct sockaddr_in* into) {
  bool is_agent;

  if (owner->machine == a->machine) {
    *into = a->address;
    return 0;
  }
  if (!mitosis_machine_find(owner->machine, into, &is_agent) && is_agent) return 0;
  return mitosis_machine_parse(owner->address, into);
}

static int make_lanes(struct mitosis_agent* a) {
  struct mitosis_owner* owners = mitosis_zalloc(MAX_OWNERS * sizeof(*owners));
  int error = owners ? 0 : -ENOMEM;
  u32 count = 0, i;

  if (!error) {
    count = mitosis_core_owners(a->fetched.bytes, a->fetched.size, owners, MAX_OWNERS);
    if (!count) error = -EINVAL;
    if (count > MAX_OWNERS) {
      mitosis_refuse("the parent's pages are on more than %d machines\n", MAX_OWNERS);
      error = -EOPNOTSUPP;
    }
  }
  if (!error) a->lanes = mitosis_zalloc(count * sizeof(*a->lanes));
  if (!error && !a->lanes) error = -ENOMEM;
  for (i = 0; !error && i < count; i++) {
    struct mitosis_lane* lane = &a->lanes[i];

    mutex_init(&lane->lock);
    lane->owner = owners[i];
    a->lane_count++;
    error = address_of(a, &owners[i], &lane->address);
    if (error)
      mitosis_refuse("the parent has pages on machine %u, which is unknown: Connect it first\n",
                     owners[i].machine);
  }
  mitosis_free(owners);
  return error;
}

// -- its life ------------------------------------------------------------------------------------

static void destroy(struct kref* references) {
  struct mitosis_agent* a = container_of(references, struct mitosis_agent, references);
  u32 i;

  cancel_delayed_work_sync(&a->renewal);
  for (i = 0; i < a->lane_count; i++) mitosis_lane_close(&a->lanes[i]);
  mitosis_free(a->lanes);
  mitosis_shim_free(a->fetched.bytes);
  mitosis_free(a);
}

struct mitosis_agent* mitosis_agent_get(struct mitosis_agent* a) {
  if (a) kref_get(&a->references);
  return a;
}
void mitosis_agent_put(struct mitosis_agent* a) {
  if (a) kref_put(&a->references, destroy);
}

static int fetch(struct mitosis_agent* a, const u8* key) {
  struct mitosis_socket* session;
  sigset_t before;
  int error;

  mitosis_signals_block(&before);
  error = open_session(&a->address, a->machine, &session);
  if (!error) {
    error = mitosis_core_query(session, 1, a->handler, key, &a->fetched);
    mitosis_socket_close(session);
  }
  mitosis_signals_restore(&before);
  return error;
}

struct mitosis_agent* mitosis_agent_query(const struct sockaddr_in* to, u32 machine, u64 handler,
                                          const u8* key) {
  struct mitosis_agent* a = mitosis_zalloc(sizeof(*a));
  int error;

  if (!a) return ERR_PTR(-ENOMEM);
  kref_init(&a->references);
  INIT_DELAYED_WORK(&a->renewal, renew);
  a->address = *to;
  a->machine = machine;
  a->handler = handler;
  error = fetch(a, key);
  if (!error) error = make_lanes(a);
  if (!error) {
    if (a->fetched.lease_ms) queue_delayed_work(system_long_wq, &a->renewal, renewal_in(a));
    return a;
  }
  mitosis_agent_put(a);
  return ERR_PTR(error);
}

const void* mitosis_agent_descriptor(const struct mitosis_agent* a, u64* bytes) {
  *bytes = a->fetched.size;
  return a->fetched.bytes;
}

// A batch is of one owner, as a rule.
void mitosis_agent_read(struct mitosis_agent* a, struct mitosis_read* reads, u32 count) {
  u32 first, run;

  for (first = 0; first < count; first += run) {
    const u32 owner = reads[first].owner;

    for (run = 1; first + run < count && reads[first + run].owner == owner;) run++;
    if (owner < a->lane_count)
      mitosis_lane_read(&a->lanes[owner], reads + first, run);
    else
      reads[first].result = -EINVAL;
  }
}
