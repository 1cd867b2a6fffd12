// SPDX-License-Identifier: MIT OR GPL-2.0
// What the C++ of the kernel module and its C shim know of each other. World: kernel.
// The shim (kernel/shim) alone sees the kernel's headers, the C++ alone the templates; here are
// plain structures and functions. `mitosis_shim_*` is the shim's, `mitosis_core_*` the C++'s.
// Addresses and sizes are bytes unless a name says pages; results below zero are -errno.
#ifndef MITOSIS_FORK_KERNEL_BOUNDARY_H
#define MITOSIS_FORK_KERNEL_BOUNDARY_H

#ifdef __cplusplus
extern "C" {
#endif

// The kernel has no <stdint.h>; on x86-64 these are uint64_t and uint32_t.
typedef unsigned long mitosis_u64;
typedef unsigned int mitosis_u32;
typedef unsigned long mitosis_size;

// -- a process, as it is captured and restored ---------------------------------------------------

// The numbers of descriptor::VmaKind.
enum {
  MITOSIS_VMA_ANONYMOUS = 1,
  MITOSIS_VMA_STACK = 2,
  MITOSIS_VMA_VDSO = 5,
  MITOSIS_VMA_VVAR = 6
};

struct mitosis_vma {
  mitosis_u64 start, end;
  mitosis_u32 prot;  // PROT_*
  mitosis_u32 kind;
};

struct mitosis_mm {
  mitosis_u64 start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  mitosis_u64 arg_start, arg_end, env_start, env_end;
};

struct mitosis_thread {
  mitosis_u64 registers[27];  // struct user_regs_struct
  mitosis_u64 signal_mask;
  mitosis_u64 altstack_base, altstack_bytes;
  mitosis_u64 robust_list, clear_child_tid, rseq;
  mitosis_u32 rseq_signature, altstack_flags, tid;
  char name[16];
};

struct mitosis_sigaction {
  mitosis_u64 handler, flags, restorer, mask;
};

// Pages, by their numbers, of one mapping.
struct mitosis_run {
  mitosis_u64 first, count;
};
// Pages that the process has not fetched: an owner has them, by its own numbers from `source` on.
struct mitosis_held {
  mitosis_u64 first, count, source;
  mitosis_u32 owner, reserved;
};
// The owners of a descriptor's pages, [0] is who prepared it.
struct mitosis_owner {
  mitosis_u32 machine, target_number;
  mitosis_u64 target_key, handler, generation;
  char address[64];  // "10.0.0.1:7411", if it is one
};

// Pointers are the maker's: the capture's own arrays, or into decoded bytes.
struct mitosis_image {
  struct mitosis_mm mm;
  struct mitosis_thread thread;
  struct mitosis_sigaction sigactions[64];
  struct mitosis_vma* vmas;  // ascending
  mitosis_u64 vma_count;
  const struct mitosis_run* runs;  // ascending; the owner knows each page by its index in them
  mitosis_u64 run_count;
  const struct mitosis_held* held;  // ascending; where a run has the page, the run counts
  mitosis_u64 held_count;
  const struct mitosis_owner* ancestors;  // [0] is owner 1 of `held`; owner 0 is the process's own
  mitosis_u64 ancestor_count;
  const void* xstate;  // an XSAVE area in the standard format; what is behind its end is zero
  mitosis_u64 xstate_bytes;
  mitosis_u64 xfeatures;  // that it may use
  const void* vdso;       // from its start on, without the zeros at its end
  mitosis_u64 vdso_bytes;
  const int* files;  // its open descriptors, ascending
  mitosis_u64 file_count;
};

struct mitosis_child;     // the shim's: one address space of a resumed process
struct mitosis_prepared;  // the shim's: a prepared parent

// -- the shim's, for the C++ ---------------------------------------------------------------------

// 16-byte aligned; may sleep; null where there is none.
void* mitosis_shim_allocate(mitosis_size bytes);
void mitosis_shim_free(void* memory);
// Whole pages that `mitosis_shim_insert` can give away one by one.
void* mitosis_shim_allocate_pages(mitosis_u64 pages);
void mitosis_shim_free_pages(void* memory, mitosis_u64 pages);
mitosis_u64 mitosis_shim_now(void);  // monotonic nanoseconds
mitosis_u32 mitosis_shim_machine(void);

// While a fault is served: maps pages whose bytes are in `memory` (of allocate_pages) in the
// faulting mapping (while all are brought: in the one that is there); `page` is the number as of
// prepare. How many are in place, also where others
// were there before; below `count` where the mapping ends or memory does.
mitosis_u64 mitosis_shim_insert(struct mitosis_child* child, mitosis_u64 page, mitosis_u64 count,
                                void* memory);
// With a cache, which the children of one parent share (the caller has its lock): whether it has a
// page; takes references to a landing's pages; whether its budget has room for more; maps `count`
// of its pages from `key` on, as insert.
int mitosis_shim_cached(struct mitosis_child* child, mitosis_u64 key);
void mitosis_shim_cache(struct mitosis_child* child, mitosis_u64 key, mitosis_u64 count,
                        void* memory);
int mitosis_shim_cache_room(struct mitosis_child* child, mitosis_u64 count);
mitosis_u64 mitosis_shim_insert_cached(struct mitosis_child* child, mitosis_u64 page,
                                       mitosis_u64 count, mitosis_u64 key);
// Pages that an owner of the descriptor's has, by the numbers that its runs tell, into memory of
// allocate_pages.
struct mitosis_read {
  mitosis_u64 index, count;
  void* into;
  mitosis_u32 owner;  // its index in the descriptor
  int result;         // 0; -ESTALE: reclaimed; -EINVAL: never captured; else the connection's end
};
enum { MITOSIS_PENDING = 1 };  // while it is not carried out yet
// Carries them out with one doorbell, wherever the child's parent is, and returns when all are
// done. At most `MITOSIS_MAX_READS`.
enum { MITOSIS_MAX_READS = 16 };
void mitosis_shim_read(struct mitosis_child* child, struct mitosis_read* reads, mitosis_u32 count);

// A connection to another machine. All bytes, within the time that its maker has set, or an error:
// -ETIMEDOUT, -EINTR (the caller is about to die), else the connection's end.
struct mitosis_socket;
int mitosis_shim_send(struct mitosis_socket* socket, const void* bytes, mitosis_size count);
int mitosis_shim_receive(struct mitosis_socket* socket, void* into, mitosis_size count);
// What is received from now on has the time of a call anew.
void mitosis_shim_go_on(struct mitosis_socket* socket);
void mitosis_shim_random(void* into, mitosis_size bytes);
// HMAC-SHA512 under the cluster's key, as far as it is told.
enum { MITOSIS_MAC_BYTES = 32 };
int mitosis_shim_mac(const void* bytes, mitosis_size count, unsigned char* mac);
void mitosis_shim_say(const char* why);  // in the kernel's log: why something was refused
// Until the peer has said something, however long that takes; what follows has a deadline.
int mitosis_shim_wait(struct mitosis_socket* socket);

// What this machine keeps, for other machines. Each found has a reference, to be put.
struct mitosis_prepared* mitosis_shim_find(mitosis_u64 handler);  // null: there is none
struct mitosis_prepared* mitosis_shim_find_target(mitosis_u32 number, mitosis_u64 key);
void mitosis_shim_put(struct mitosis_prepared* prepared);  // or null
int mitosis_shim_opens(const struct mitosis_prepared* prepared, const unsigned char* key);
struct mitosis_told {
  const void* descriptor;  // as long as the reference
  mitosis_u64 bytes, generation;
};
void mitosis_shim_tell(const struct mitosis_prepared* prepared, struct mitosis_told* into);
// The result is in the read. Its end for all who have it.
void mitosis_shim_read_prepared(struct mitosis_prepared* prepared, struct mitosis_read* read);
void mitosis_shim_reclaim(mitosis_u64 handler, const struct mitosis_prepared* prepared);
// Whether one with this handler and key was so ended, of the latest.
int mitosis_shim_was_reclaimed(mitosis_u64 handler, const unsigned char* key);

// -- the C++'s, for the shim ---------------------------------------------------------------------

// The compiled policy's name: "rc+prefetch8+none+cow".
const char* mitosis_core_policy(void);
int mitosis_core_copies(void);    // whether a prepare copies every page, instead of protecting it
int mitosis_core_cached(void);    // whether the children of a parent share what they fetch
int mitosis_core_eager(void);     // whether a child begins with all of its pages
int mitosis_core_profiled(void);  // whether there is a profile

// Durations of the engine's steps (ProfileStep's: plan, read, fallback, install, fault): bucket i
// counts those of [2^(i-1), 2^i) ns.
enum { MITOSIS_STEPS = 5, MITOSIS_BUCKETS = 40 };
struct mitosis_profile {
  struct {
    mitosis_u64 counts[MITOSIS_BUCKETS], count, total_ns;
  } steps[MITOSIS_STEPS];
};

// Who a prepared parent is to other machines, and what opens its pages to their reads.
struct mitosis_parent_name {
  mitosis_u64 handler, generation, target_key;
  mitosis_u32 target_number;
};
// Writes the descriptor of an image, whose bytes it returns; where they are more than `room`,
// nothing is written.
mitosis_u64 mitosis_core_encode(const struct mitosis_image* image,
                                const struct mitosis_parent_name* identity, void* into,
                                mitosis_u64 room);
// Who a descriptor is of: what a cache is known by. 0, or it is malformed.
struct mitosis_name {
  mitosis_u64 machine, handler, generation;
};
int mitosis_core_name(const void* bytes, mitosis_u64 size, struct mitosis_name* name);
// Checks and reads one. `image->vmas` is allocated, to be freed by the caller; it holds no pages.
// -EOPNOTSUPP: its process has what this module cannot restore; the log says what.
int mitosis_core_decode(const void* bytes, mitosis_u64 size, struct mitosis_image* image);

// How many owners a descriptor has; at most `room` are written.
mitosis_u32 mitosis_core_owners(const void* bytes, mitosis_u64 size, struct mitosis_owner* into,
                                mitosis_u32 room);

// What another machine's agent is asked, on a connection that stands. First of all to be let in:
// -EACCES: one of the two has not the secret, or it is not that machine. After an error the
// connection is to be closed.
enum { MITOSIS_CALLS = 1, MITOSIS_DEMAND_READS = 2 };
int mitosis_core_greet(struct mitosis_socket* socket, int purpose, mitosis_u32 machine);
// Of a session for calls; `number` is another one each time.
int mitosis_core_ping(struct mitosis_socket* socket, mitosis_u64 number);
struct mitosis_fetched {
  void* bytes;  // of mitosis_shim_allocate
  mitosis_u64 size, generation, lease_ms;
};
int mitosis_core_query(struct mitosis_socket* socket, mitosis_u64 number, mitosis_u64 handler,
                       const unsigned char* key, struct mitosis_fetched* into);
int mitosis_core_renew(struct mitosis_socket* socket, mitosis_u64 number, mitosis_u64 handler,
                       mitosis_u64 generation, mitosis_u64* lease_ms);
// Of a lane: carries out what is pending of `reads`. After an error some of them are so still.
int mitosis_core_read_lane(struct mitosis_socket* socket, mitosis_u64* sequence,
                           const struct mitosis_owner* owner, struct mitosis_read* reads,
                           mitosis_u32 count);

// What other machines ask of this one, on a connection that they have made. First they prove that
// they have the secret, and say what for (MITOSIS_CALLS, ...): -EACCES. Then it is served until its
// end.
int mitosis_core_admit(struct mitosis_socket* socket, int* purpose);
void mitosis_core_serve(struct mitosis_socket* socket, int purpose);

// The pager of one address space. Bytes and child must outlive it. Null: no memory, or bad bytes.
void* mitosis_core_open(const void* bytes, mitosis_u64 size, struct mitosis_child* child);
// That of a process which has just been forked; null: no memory.
void* mitosis_core_fork(void* core, struct mitosis_child* copy);
void mitosis_core_close(void* core);
// All below: one caller at a time. Brings a page and what the policy brings with it.
// 0: it is in place; -ENOMEM; -EIO: it cannot be had.
int mitosis_core_fault(void* core, mitosis_u64 page);
// With an eager policy: brings all; mappings are in place, nothing has run yet. As fault.
int mitosis_core_bring_all(void* core);
// What its pager has done so far: pages, and reads with the bytes that they brought (ChildStats's).
// Adds this child's; at any time.
struct mitosis_brought {
  mitosis_u64 zeros, fetched, cached, dropped, reads, bytes;
};
void mitosis_core_count(const void* core, struct mitosis_brought* into);
// Adds this child's.
void mitosis_core_profile(const void* core, struct mitosis_profile* into);
// madvise(MADV_DONTNEED): these are zero from now on.
void mitosis_core_removed(void* core, mitosis_u64 page, mitosis_u64 count);
// The first pages from `page` on that are still to be fetched: their number; 0: none.
mitosis_u64 mitosis_core_missing(void* core, mitosis_u64 page, mitosis_u64* first);
// All pages that owners have and this child has not fetched, ascending: how many pieces they are;
// at most `room` are written. A page that was told to fail is an owner's still. MITOSIS_NOT_KNOWN:
// there was no memory for a change, and what the child has not is not known any more.
#define MITOSIS_NOT_KNOWN (~0ul)
mitosis_u64 mitosis_core_held(void* core, struct mitosis_held* into, mitosis_u64 room);

#ifdef __cplusplus
}
#endif

#endif
