// SPDX-License-Identifier: MIT OR GPL-2.0
// The calls of /dev/mitosis-syscalls that the original lacks. World: kernel, and its users.
// The original's are bare numbers (docs/cli.md has the table); these have versions of their own: a
// structure that grows gets another number, so that an old program is never misunderstood.
// Reserved fields and unknown flags must be 0: EINVAL else.
#ifndef MITOSIS_FORK_KERNEL_DEVICE_H
#define MITOSIS_FORK_KERNEL_DEVICE_H

#include <linux/ioctl.h>
#include <linux/types.h>

// Who holds a handler's key may resume it, on any machine of the cluster.
enum { MITOSIS_KEY_BYTES = 16 };

// Ends a handler of this machine: when the call returns, no page of it is served any more. For its
// user, and for who has CAP_SYS_PTRACE. ENOENT, EACCES.
struct mitosis_reclaim {
  __u64 handler;
  __u64 reserved;
};
#define MITOSIS_RECLAIM _IOW('M', 0x40, struct mitosis_reclaim)

// Prepares the caller under `handler`, and gives the key. 0 in the parent, 1 in each child, whose
// memory does not hold the key. It ends with a reclaim, with its lease, at the module's end, and
// without MITOSIS_STAYS with the last descriptor of this open device. EEXIST: the handler is in
// use; EOPNOTSUPP: something that cannot be taken along; ENOSPC: the module's budget; ENOMEM,
// EFAULT.
enum { MITOSIS_STAYS = 1 };
struct mitosis_prepare {
  __u64 handler;
  __u32 flags;
  __u32 lease_seconds;          // 0: none
  __u8 key[MITOSIS_KEY_BYTES];  // out
};
#define MITOSIS_PREPARE_KEYED _IOWR('M', 0x41, struct mitosis_prepare)

// The caller becomes a child of a prepared parent: does not return where it succeeds. ENOENT: no
// such handler or machine; EACCES: not its key, or not the cluster's secret; EOPNOTSUPP: the caller
// has threads, or shares its memory; ETIMEDOUT and others: its machine cannot be reached.
enum { MITOSIS_FROM_HERE = 1 };  // of this machine, whatever `machine` is
struct mitosis_resume {
  __u64 handler;
  __u32 machine;
  __u32 flags;
  __u8 key[MITOSIS_KEY_BYTES];
};
#define MITOSIS_RESUME_KEYED _IOW('M', 0x42, struct mitosis_resume)

// From now on it ends in that many seconds; 0: never. As reclaim.
struct mitosis_lease {
  __u64 handler;
  __u32 seconds;
  __u32 reserved;
};
#define MITOSIS_RENEW _IOW('M', 0x43, struct mitosis_lease)

// What is prepared on this machine, of the caller's user; all for who has CAP_SYS_PTRACE.
enum { MITOSIS_IS_KEYED = 1, MITOSIS_IS_STAYING = 2 };
struct mitosis_entry {
  __u64 handler;
  __u64 generation;  // which of those that had this handler it is
  __u64 pages;
  __u64 descriptor_bytes;
  __u32 pid;  // of the parent as of prepare, as the caller sees it; 0: not there
  __u32 uid;
  __u32 lease_seconds;  // left; 0: no lease
  __u32 flags;
  __u32 users;  // children and connections that have it
  __u32 age_seconds;
  char name[16];  // the program's, as of prepare
};
struct mitosis_list {
  __u64 entries;    // where struct mitosis_entry are to be written
  __u32 room;       // how many find room there
  __u32 count;      // out: how many there are
  char policy[64];  // out: the module's, "rc+prefetch8+none+cow"
};
#define MITOSIS_LIST _IOWR('M', 0x44, struct mitosis_list)

// Since the module was loaded, but for those that say now. Anyone.
struct mitosis_statistics {
  __u64 prepared_now, prepared_pages_now, children_now;
  __u64 prepares, refused_prepares;
  __u64 local_resumes, remote_resumes, refused_resumes;
  __u64 faults, failed_faults;      // of children
  __u64 local_pages, remote_pages;  // that they were given
  __u64 doorbells;                  // batches of reads from other machines
  __u64 accepted_peers, refused_peers;
  __u64 reclaims, ended_leases;
  // Of those that were refused, why; the rest for want of memory and what is rarer still.
  __u64 prepares_unsupported, prepares_in_use, prepares_without_room;
  __u64 resumes_unsupported, resumes_unknown, resumes_denied, resumes_unreachable;
  // What children's faults came to. Of what was put in place: `ahead` of its own fault; zeros,
  // or what the descriptor has; read from an owner; in the machine's cache already.
  __u64 ahead_pages, zero_pages, fetched_pages, cached_pages;
  __u64 dropped_pages;  // read in vain: removed, moved, or another mapping's by then
  __u64 reads, read_bytes;
  __u64 fallback_reads;                   // doorbells over TCP where RDMA comes first
  __u64 connections, broken_connections;  // to read by: RDMA's, and lanes over TCP
};
#define MITOSIS_STATISTICS _IOR('M', 0x45, struct mitosis_statistics)

#endif
