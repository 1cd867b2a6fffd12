// SPDX-License-Identifier: MIT OR GPL-2.0
// A prepared parent as its children on this machine have it: the descriptor, and a way to each of
// its pages' owners. World: kernel.
// The first owner is who was asked for the descriptor; the others are ancestors, whose pages the
// parent itself has not fetched.
#include <linux/err.h>
#include <linux/kref.h>

#include "ways.h"

enum {
  RENEWALS = 3,             // within a lease
  PASSED_OVER_MS = 60000,   // of owners that were not reached, in reading ahead
  UNKNOWN_LEASE_MS = 9000,  // until an ancestor's machine has told its
};

// -- leases --------------------------------------------------------------------------------------

// No more than once a second, whatever the agent says.
static unsigned long renewal_in(const struct mitosis_way* way) {
  const u64 lease_ms = min_t(u64, way->lease_ms, 3600 * MSEC_PER_SEC);

  return max_t(unsigned long, HZ, msecs_to_jiffies(lease_ms / RENEWALS));
}

// Of their own: a machine that does not answer holds one up for seconds, and that shall be neither
// another lease's nor the kernel's own work.
static struct workqueue_struct* renewals;

int mitosis_parents_begin(void) {
  renewals = alloc_workqueue("mitosis_renewals", WQ_UNBOUND, MITOSIS_MAX_OWNERS);
  return renewals ? 0 : -ENOMEM;
}

void mitosis_parents_end(void) {
  destroy_workqueue(renewals);
}

// One that fails is tried again the next time.
static void renew(struct work_struct* work) {
  struct mitosis_way* way = container_of(to_delayed_work(work), struct mitosis_way, renewal);

  mitosis_agent_renew(&way->address, &way->owner, &way->lease_ms);
  if (way->lease_ms) queue_delayed_work(renewals, &way->renewal, renewal_in(way));
}

static void begin_renewals(struct mitosis_way* way, u64 lease_ms) {
  way->lease_ms = lease_ms;
  if (lease_ms) queue_delayed_work(renewals, &way->renewal, renewal_in(way));
}

// -- the ways ------------------------------------------------------------------------------------

// Who has the descriptor: a machine that was asked for it, or this one.
struct asked {
  struct mitosis_prepared* prepared;
  struct sockaddr_in address;
  u32 machine;
  bool is_agent;
};

static struct mitosis_prepared* find_here(const struct mitosis_owner* owner) {
  struct mitosis_prepared* found =
      mitosis_shim_find_target(owner->target_number, owner->target_key);

  if (!found || found->generation == owner->generation) return found;
  mitosis_prepared_put(found);
  return NULL;
}

// Where it is: at who was asked, where this machine was told that it is, or where it says. By RDMA
// only where this machine knows that a module is there.
static int find_way(struct mitosis_way* way, bool is_first, const struct asked* asked) {
  const u32 machine = way->owner.machine;
  bool is_agent;

  if (is_first && asked->prepared) {
    kref_get(&asked->prepared->references);
    way->prepared = asked->prepared;
    return 0;
  }
  if (!is_first) way->prepared = find_here(&way->owner);
  if (way->prepared) return 0;
  if (is_first || (!asked->prepared && machine == asked->machine)) {
    way->address = asked->address;
    way->by_rdma = !asked->is_agent;
    return 0;
  }
  if (machine == mitosis_shim_machine()) {  // it was here
    way->ended = true;
    return 0;
  }
  if (!mitosis_machine_find(machine, &way->address, &is_agent)) {
    way->by_rdma = !is_agent;
    return 0;
  }
  return mitosis_machine_parse(way->owner.address, &way->address);
}

// Of who was asked for the descriptor: by their numbers its children find all owners again.
static bool has_number(const struct mitosis_owner* owner, const struct asked* asked) {
  struct mitosis_prepared* here;

  if (owner->machine != asked->machine) {
    mitosis_refuse("resume: who was Connected as machine %u is machine %u: give both one number\n",
                   asked->machine, owner->machine);
    return false;
  }
  if (owner->machine != mitosis_shim_machine() || asked->is_agent) return true;
  here = find_here(owner);
  if (here) {
    mitosis_prepared_put(here);
    return true;
  }
  mitosis_refuse("resume: machine %u has this machine's number: load one of the two with another\n",
                 owner->machine);
  return false;
}

static int make_ways(struct mitosis_parent* p, const struct asked* asked) {
  struct mitosis_owner* owners = mitosis_zalloc(MITOSIS_MAX_OWNERS * sizeof(*owners));
  int error = owners ? 0 : -ENOMEM;
  u32 count = 0, i;

  if (!error) {
    count = mitosis_core_owners(p->descriptor, p->bytes, owners, MITOSIS_MAX_OWNERS);
    if (!count) error = -EINVAL;
    if (count > MITOSIS_MAX_OWNERS) {
      mitosis_refuse("the parent's pages are on more than %d machines\n", MITOSIS_MAX_OWNERS);
      error = -EOPNOTSUPP;
    }
  }
  if (!error && !asked->prepared && !has_number(&owners[0], asked)) error = -EINVAL;
  if (!error) p->ways = mitosis_zalloc(count * sizeof(*p->ways));
  if (!error && !p->ways) error = -ENOMEM;
  for (i = 0; !error && i < count; i++) {
    struct mitosis_way* way = &p->ways[i];

    mutex_init(&way->lock);
    INIT_DELAYED_WORK(&way->renewal, renew);
    way->owner = owners[i];
    way->rdma_at = jiffies;
    p->way_count++;
    error = find_way(way, i == 0, asked);
    if (error)
      mitosis_refuse("the parent has pages on machine %u, which is unknown: Connect it first\n",
                     owners[i].machine);
    else if (i != 0 && !way->prepared && !way->ended && !way->by_rdma)
      begin_renewals(way, UNKNOWN_LEASE_MS);
  }
  mitosis_free(owners);
  return error;
}

// -- its life ------------------------------------------------------------------------------------

static void destroy(struct mitosis_parent* p) {
  u32 i;

  for (i = 0; i < p->way_count; i++) {
    cancel_delayed_work_sync(&p->ways[i].renewal);
    mitosis_way_close(&p->ways[i]);
  }
  mitosis_free(p->ways);
  mitosis_free(p->memory);
  mitosis_free(p);
}

struct mitosis_parent* mitosis_parent_get(struct mitosis_parent* p) {
  kref_get(&p->references);
  return p;
}

static void destroy_now(struct kref* references) {
  destroy(container_of(references, struct mitosis_parent, references));
}
void mitosis_parent_put(struct mitosis_parent* p) {
  if (p) kref_put(&p->references, destroy_now);
}

struct mitosis_parent* mitosis_parent_join(struct mitosis_parent* p) {
  atomic_long_inc(&p->children);
  return mitosis_parent_get(p);
}

// Who stays prepared with these ancestors only renews their leases: it keeps no device from going.
void mitosis_parent_leave(struct mitosis_parent* p) {
  u32 i;

  if (atomic_long_dec_and_test(&p->children)) {
    for (i = 0; i < p->way_count; i++) mitosis_way_rest(&p->ways[i]);
  }
  mitosis_parent_put(p);
}

static void end(struct work_struct* work) {
  destroy(container_of(work, struct mitosis_parent, end));
}
static void destroy_later(struct kref* references) {
  struct mitosis_parent* p = container_of(references, struct mitosis_parent, references);

  INIT_WORK(&p->end, end);
  mitosis_children_later(&p->end);
}
void mitosis_parent_put_later(struct mitosis_parent* p) {
  if (p) kref_put(&p->references, destroy_later);
}

static struct mitosis_parent* allocate(void) {
  struct mitosis_parent* p = mitosis_zalloc(sizeof(*p));

  if (p) kref_init(&p->references);
  return p;
}

struct mitosis_parent* mitosis_parent_here(struct mitosis_prepared* prepared) {
  const struct asked asked = {.prepared = prepared};
  struct mitosis_parent* p = allocate();
  int error;

  if (!p) return ERR_PTR(-ENOMEM);
  p->descriptor = prepared->descriptor;
  p->bytes = prepared->descriptor_bytes;
  error = make_ways(p, &asked);
  if (!error) return p;
  mitosis_parent_put(p);
  return ERR_PTR(error);
}

// Its connection becomes the first owner's.
static int ask_module(struct mitosis_parent* p, const struct asked* asked, u64 handler,
                      const u8* key) {
  struct mitosis_remote* remote = mitosis_remote_connect(&asked->address, handler, key);
  int error;

  if (IS_ERR(remote)) return PTR_ERR(remote);
  p->descriptor = p->memory = mitosis_remote_take_descriptor(remote, &p->bytes);
  error = make_ways(p, asked);
  if (error) {
    mitosis_remote_close(remote);
    return error;
  }
  p->ways[0].rdma = remote;
  return 0;
}

static int ask_agent(struct mitosis_parent* p, const struct asked* asked, u64 handler,
                     const u8* key) {
  struct mitosis_fetched fetched = {};
  int error = mitosis_agent_query(&asked->address, asked->machine, handler, key, &fetched);

  if (error) return error;
  p->descriptor = p->memory = fetched.bytes;
  p->bytes = fetched.size;
  error = make_ways(p, asked);
  if (error) return error;
  begin_renewals(&p->ways[0], fetched.lease_ms);
  return 0;
}

struct mitosis_parent* mitosis_parent_elsewhere(u32 machine, u64 handler, const u8* key) {
  struct asked asked = {.machine = machine};
  int error = mitosis_machine_find(machine, &asked.address, &asked.is_agent);
  struct mitosis_parent* p;

  if (error) {
    mitosis_refuse("resume: machine %u is unknown: Connect it first\n", machine);
    return ERR_PTR(error);
  }
  p = allocate();
  if (!p) return ERR_PTR(-ENOMEM);
  error = asked.is_agent ? ask_agent(p, &asked, handler, key) : ask_module(p, &asked, handler, key);
  if (!error) return p;
  mitosis_refuse("resume: machine %u, handler %llu: error %d\n", machine, handler, error);
  mitosis_parent_put(p);
  return ERR_PTR(error);
}

// -- its pages -----------------------------------------------------------------------------------

const void* mitosis_parent_descriptor(const struct mitosis_parent* p, u64* bytes) {
  *bytes = p->bytes;
  return p->descriptor;
}

bool mitosis_parent_is_here(const struct mitosis_parent* p) {
  return p->ways[0].prepared != NULL;
}

// A batch is of one owner, as a rule. Its first page is the one that is waited for: of the others'
// owners, who was not reached within the last minute is not asked now.
void mitosis_parent_read(struct mitosis_parent* p, struct mitosis_read* reads, u32 count,
                         unsigned long since) {
  u32 first, run;

  for (first = 0; first < count; first += run) {
    const u32 owner = reads[first].owner;

    for (run = 1; first + run < count && reads[first + run].owner == owner;) run++;
    if (owner < p->way_count)
      mitosis_way_read(&p->ways[owner], reads + first, run,
                       first ? since - msecs_to_jiffies(PASSED_OVER_MS) : since);
    else
      reads[first].result = -EINVAL;
  }
}
