// SPDX-License-Identifier: MIT OR GPL-2.0
// What the shim's files know of each other. World: kernel.
#ifndef MITOSIS_SHIM_H
#define MITOSIS_SHIM_H

#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/rwsem.h>
#include <linux/signal.h>
#include <linux/workqueue.h>

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/device.h>

#undef pr_fmt
#define pr_fmt(fmt) "mitosis: " fmt

// A refusal that tells its reason in the kernel's log: unprivileged callers cannot flood it.
#define mitosis_refuse(...) pr_notice_ratelimited(__VA_ARGS__)

// services.c: memory that is counted as the caller's, in zeros; null: none.
void* mitosis_zalloc(size_t bytes);
void* mitosis_zalloc_virtual(size_t bytes);  // page by page
void mitosis_free(void* memory);             // of either
// Whether an allocation that is not made by the functions above shall fail here: tests count sites.
bool mitosis_fails(void);
// Around what a process's signals would cut short: all but SIGKILL.
void mitosis_signals_block(sigset_t* before);
void mitosis_signals_restore(const sigset_t* before);

// statistics.c: one atomic a field of struct mitosis_statistics.
enum { MITOSIS_COUNTERS = sizeof(struct mitosis_statistics) / sizeof(u64) };
extern atomic64_t mitosis_counters[MITOSIS_COUNTERS];
#define mitosis_counter(field) \
  (&mitosis_counters[offsetof(struct mitosis_statistics, field) / sizeof(u64)])
#define mitosis_count_all(field, by) atomic64_add(by, mitosis_counter(field))
#define mitosis_count(field) mitosis_count_all(field, 1)
void mitosis_statistics_read(struct mitosis_statistics* into);
// Whose pager is counted, from the one to the other.
struct mitosis_child;
void mitosis_statistics_join(struct mitosis_child* child);
void mitosis_statistics_leave(struct mitosis_child* child);
// The result of a call, 0 or -errno: done, or refused and why.
void mitosis_count_prepare(int error);
void mitosis_count_resume(int error, bool remote);

// profile.c: with Profile<On>, debugfs has the durations of all children's steps, and of the
// calls'.
void mitosis_profile_begin(void);
void mitosis_profile_end(void);
void mitosis_profile_join(struct mitosis_child* child);
void mitosis_profile_leave(struct mitosis_child* child);
enum mitosis_call_step {
  MITOSIS_PREPARE_MEMORY,
  MITOSIS_PREPARE_DESCRIPTOR,
  MITOSIS_RESUME_CONNECT,
  MITOSIS_RESUME_MEMORY,
  MITOSIS_CALL_STEPS
};
// From `begun`, which mitosis_shim_now() told, until now.
void mitosis_profile_call(enum mitosis_call_step step, u64 begun);

// auth.c: the cluster's secret. `needed`: there must be one.
int mitosis_auth_begin(bool needed);
void mitosis_auth_end(void);
bool mitosis_is_key(const u8* told, const u8* right);
// mac.c: the same for what agents are told.
int mitosis_mac_begin(const char* secret, size_t length);
void mitosis_mac_end(void);
bool mitosis_has_mac(void);

struct mitosis_parent;

// prepared.c: a parent as of its prepare. Its pages are referenced: the parent's next write copies.
struct mitosis_prepared {
  struct kref references;
  u64 handler, generation;
  char name[TASK_COMM_LEN];
  bool keyed;  // else it was prepared by a call of the original's
  u8 key[MITOSIS_KEY_BYTES];
  kuid_t uid, euid;
  struct pid* pid;
  const void* holder;  // the open device file that it ends with; null: it stays
  u64 prepared_at;     // of ktime_get_boottime_seconds(), as the next
  u64 lease_end;       // 0: none; under the table's lock
  struct rw_semaphore lock;
  bool revoked;
  struct page** pages;  // null once it is revoked
  u64 page_count;
  void* descriptor;
  u64 descriptor_bytes;
  struct mitosis_export* export;  // export.c's
  struct mitosis_parent_name identity;
  struct mitosis_parent* ancestors;  // who have what it has not fetched; null: it has all
};

struct mitosis_prepared* mitosis_prepared_make(void);
void mitosis_prepared_put(struct mitosis_prepared* prepared);
// Ends it for all who have it: when it returns, no page of it is read any more.
void mitosis_prepared_revoke(struct mitosis_prepared* prepared);
// Whether the caller is its user, or may read any process.
bool mitosis_prepared_is_ours(const struct mitosis_prepared* prepared);
void mitosis_prepared_read(struct mitosis_prepared* prepared, struct mitosis_read* reads,
                           u32 count);

// table.c: prepared parents by their handler.
// 0, -EEXIST, -ENOSPC or -ENOMEM; the table has a reference of its own.
int mitosis_prepared_publish(struct mitosis_prepared* prepared, u32 lease_seconds);
// With a reference for the caller; null: no such handler.
struct mitosis_prepared* mitosis_prepared_find(u64 handler);
// Ends those that this file holds; null: all. When it returns, no page of them is read any more.
void mitosis_prepared_end(const void* holder);
// The same for one. 0, -ENOENT or -EACCES.
int mitosis_prepared_reclaim(u64 handler);
// Ends this one, if it is still there: for who has its key.
void mitosis_prepared_finish(const struct mitosis_prepared* prepared);
int mitosis_prepared_renew(u64 handler, u32 seconds);
int mitosis_prepared_list(struct mitosis_list* list);

// server.c: what of it other machines may read. `begin` with port 0: nothing.
int mitosis_server_begin(u16 port);
void mitosis_server_end(void);
// When it returns, no peer reads its pages any more.
void mitosis_server_revoke(struct mitosis_prepared* prepared);
void mitosis_export_drop(struct mitosis_prepared* prepared);  // export.c

// listener.c: the same for agents, on TCP.
int mitosis_listener_begin(u16 port);
void mitosis_listener_end(void);

// client.c: a connection to another machine's prepared parent, which has one user at a time.
struct mitosis_remote;
struct sockaddr_in;
// The descriptor is there when it returns, to be taken; else an error in the pointer. Without a
// key: of what was prepared without one.
struct mitosis_remote* mitosis_remote_connect(const struct sockaddr_in* to, u64 handler,
                                              const u8* key);
void* mitosis_remote_take_descriptor(struct mitosis_remote* remote, u64* bytes);
// The same for who has a descriptor that names this owner: only its pages. -ESTALE: what it names
// has ended, and who says so is its owner.
struct mitosis_remote* mitosis_remote_reach(const struct sockaddr_in* to,
                                            const struct mitosis_owner* owner);
void mitosis_remote_close(struct mitosis_remote* remote);  // or null
// 0: all of them; -EINVAL: never captured; -EINTR: the caller is about to die; else what has become
// of the connection, which is to be closed.
int mitosis_remote_read(struct mitosis_remote* remote, const struct mitosis_read* reads, u32 count);
int mitosis_remote_ping(const struct sockaddr_in* to);

// agent.c: -EACCES: it has not the secret, or is another machine.
int mitosis_agent_ping(const struct sockaddr_in* to, u32 machine);

// parent.c: a prepared parent, of this machine or another's, which its children here share. Else an
// error in the pointer; the log says why.
struct mitosis_parent* mitosis_parent_here(struct mitosis_prepared* prepared);
struct mitosis_parent* mitosis_parent_elsewhere(u32 machine, u64 handler, const u8* key);
struct mitosis_parent* mitosis_parent_get(struct mitosis_parent* parent);
void mitosis_parent_put(struct mitosis_parent* parent);  // or null
// The same for a child: once the last one has left no connection stands.
struct mitosis_parent* mitosis_parent_join(struct mitosis_parent* parent);
void mitosis_parent_leave(struct mitosis_parent* parent);
int mitosis_parents_begin(void);
void mitosis_parents_end(void);  // once none is left
// For who has locks: its connections' ends may be long.
void mitosis_parent_put_later(struct mitosis_parent* parent);  // or null
const void* mitosis_parent_descriptor(const struct mitosis_parent* parent, u64* bytes);
bool mitosis_parent_is_here(const struct mitosis_parent* parent);
// The results are in the reads. `since`: from when on, in jiffies, the caller has waited.
void mitosis_parent_read(struct mitosis_parent* parent, struct mitosis_read* reads, u32 count,
                         unsigned long since);

// machines.c: the addresses of other machines: "10.0.0.1" or "10.0.0.1:7412".
int mitosis_machine_parse(const char* text, struct sockaddr_in* address);
int mitosis_machine_connect(u32 machine, const char* address);
// -ENOENT. `is_agent`: it is reached on TCP, as agents are; else by RDMA, as modules are.
int mitosis_machine_find(u32 machine, struct sockaddr_in* address, bool* is_agent);
int mitosis_machine_ping(u32 machine);
void mitosis_machines_forget(void);

// pages.c: the caller's memory. Fills vmas, pages and runs; 0 or an error, and then nothing.
struct mitosis_capture {
  struct mitosis_vma* vmas;
  u64 vma_count;
  struct page** pages;
  u64 page_count, room;
  bool marked;  // some of them: to be copied
  struct mitosis_run* runs;
  u64 run_count, run_room;
  u64 next;  // the page that would belong to the last run
  // Of a resumed caller, what it has not fetched:
  struct mitosis_held* held;
  u64 held_count;
  struct mitosis_owner* ancestors;
  u32 ancestor_count;
  struct mitosis_parent* parent;  // the ancestors', with a reference
  u64 wanted;                     // pages that found no room
  struct mutex* busy;             // another has it, without which none of that is known
};
int mitosis_capture_pages(struct mitosis_capture* capture);
void mitosis_capture_drop(struct mitosis_capture* capture);

// state.c: the caller's registers, signals and what else is no memory.
u64 mitosis_xstate_bytes(void);
void mitosis_capture_state(struct mitosis_image* image, void* xstate);
// Of what was captured of its memory; `*vdso` and `*files` are to be freed, also after an error.
int mitosis_capture_vdso(struct mitosis_image* image, void** vdso);
int mitosis_capture_files(struct mitosis_image* image, int** files);
// Whether an image of another machine can be restored on this one: 0, -ENOMEM, or -EINVAL, and the
// log says why.
int mitosis_state_check(const struct mitosis_image* image);
// First, before the caller's memory goes; after an error its FPU is as it was. The image's `xstate`
// has all of mitosis_xstate_bytes; what is not told is initial.
int mitosis_restore_fpu(const struct mitosis_image* image);
// All else, once the memory is mapped.
void mitosis_restore_state(const struct mitosis_image* image);

// child.c: an address space whose pages come from a parent's.
enum { MITOSIS_MAX_VVAR_PAGES = 16 };
struct mitosis_child {
  struct mmu_notifier notifier;
  struct mutex* lock;  // its own, or its cache's
  struct mutex own_lock;
  struct mitosis_cache* cache;    // null: none
  atomic_long_t users;            // mappings, and who sets it up
  struct mitosis_parent* parent;  // with a reference
  struct work_struct end;
  struct list_head profile;  // profile.c's
  struct list_head counted;  // statistics.c's
  void* core;
  struct vm_fault* fault;             // that is being served, under the lock
  unsigned long since;                // the same: from when on it has waited, in jiffies
  const struct mitosis_vma* mapping;  // that is being made
  struct mitosis_child* forked;       // of the latest fork; under the mmap lock
  u64 stack_first;  // the stack's first page as of prepare: what grows below is zero
  u64 vvar_start;
  u64 vvar_pages;
  unsigned long vvar[MITOSIS_MAX_VVAR_PAGES];  // frames; 0: none
};
// Takes a reference of its own. Registered with the caller's memory; else an error in the pointer.
struct mitosis_child* mitosis_child_make(struct mitosis_parent* parent);
// That of a process which has just been forked; both memories are locked for writing. As above.
struct mitosis_child* mitosis_child_fork(struct mitosis_child* child, struct mm_struct* mm);
int mitosis_children_begin(void);
void mitosis_children_end(void);
void mitosis_children_later(struct work_struct* work);  // before their end
void mitosis_child_get(struct mitosis_child* child);
void mitosis_child_put(struct mitosis_child* child);
// child_memory.c
int mitosis_child_map(struct mitosis_child* child, struct file* file,
                      const struct mitosis_vma* mapping);
// With an eager policy, once all is mapped: every page.
int mitosis_child_bring_all(struct mitosis_child* child);
extern const struct file_operations mitosis_child_file;
// The child that has this mapping; null: it is no such mapping.
struct mitosis_child* mitosis_child_of(const struct vm_area_struct* vma);
bool mitosis_is_vvar(const struct vm_area_struct* vma);
// The first of a child's mapping's pages, by their numbers, that was there at prepare. Below, where
// its stack has grown, the numbers may be those of a mapping that was moved away.
u64 mitosis_first_page(const struct vm_area_struct* vma);

// cache.c: with Cache<Local>. Null: no memory.
struct mitosis_cache* mitosis_cache_get(const struct mitosis_name* name);
struct mitosis_cache* mitosis_cache_share(struct mitosis_cache* cache);
void mitosis_cache_put(struct mitosis_cache* cache);
struct mutex* mitosis_cache_lock(struct mitosis_cache* cache);
// Under its lock; null: it has not.
struct page* mitosis_cache_page(struct mitosis_cache* cache, u64 key);

// prepare.c: publishes the caller. 0 in the parent, 1 in a child. `key`: is to be given one.
int mitosis_prepare(u64 handler, const void* holder, u32 lease_seconds, u8* key);
// resume.c: without a key, only as the call of the original's allow it.
int mitosis_resume_local(u64 handler, const u8* key);
int mitosis_resume_remote(u32 machine, u64 handler, const u8* key);

// device.c: /dev/mitosis-syscalls.
int mitosis_device_begin(void);
void mitosis_device_end(void);

// Whether nothing else runs in the caller's memory; says what does not.
bool mitosis_is_alone(const char* what);

#endif
