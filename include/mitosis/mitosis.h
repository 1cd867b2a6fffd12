// SPDX-License-Identifier: MIT
/* The C interface of mitosis: remote fork on stock Linux. World: user. Link with -lmitosis.
 *
 *   int sd = mitosis_open();
 *   struct mitosis_key key;
 *   switch (mitosis_prepare(sd, 73, NULL, &key)) {
 *     case MITOSIS_PARENT: ...  goes on; `key` lets others resume handler 73 of this machine
 *     case MITOSIS_CHILD:  ...  runs wherever and whenever somebody has resumed it
 *     default: fprintf(stderr, "%s\n", mitosis_strerror());
 *   }
 *
 * All calls need a running agent on this machine (`mitosis agent`). A descriptor is used by one
 * thread at a time; after fork() parent and child may both go on using it. */
#ifndef MITOSIS_MITOSIS_H
#define MITOSIS_MITOSIS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What mitosis_prepare returns: which of the two the caller is. */
#define MITOSIS_PARENT 0
#define MITOSIS_CHILD 1
/** A machine id: the machine that the caller is on. */
#define MITOSIS_HERE UINT32_C(0xffffffff)

/** 128 secret bits; whoever holds them may resume the handler, and reclaim it from afar. */
struct mitosis_key {
  uint8_t bytes[16];
};

/** A connection to this machine's agent ($MITOSIS_SOCKET, default /run/mitosis/agent.sock).
 * Returns a descriptor to be given to mitosis_close (and to no other close), or -1. */
int mitosis_open(void);
void mitosis_close(int sd);

/** Prepares the calling process under `handler`, unique on this machine. All its threads come
 * along: the calling one returns in each child, the others go on where they stand. What becomes of
 * its open files, and what is refused, is in docs/limits.md.
 * `policy`: a name as "dct+prefetch8+local+cow", or NULL for the agent's default.
 * Returns MITOSIS_PARENT with *key filled in, and MITOSIS_CHILD in every child that is ever
 * resumed, in all of which memory is as of this call; or -1, and nothing has happened.
 * The process may exit afterwards: its handler stays until it is reclaimed, or nobody has used it
 * for the agent's --lease (60 s); see MITOSIS_PINNED. */
int mitosis_prepare(int sd, uint64_t handler, const char* policy, struct mitosis_key* key);

/** For mitosis_prepare_as: children need no key, whoever resumes them on whichever machine of the
 * cluster (MITOSIS_EPRIVILEGE unless the agent runs with --keyless); ... */
#define MITOSIS_KEYLESS 1u
/** ... the handler ends with this process; ... */
#define MITOSIS_ENDS_WITH_CALLER 2u
/** ... or no lease ends it: it stays until it is reclaimed or the agent ends. */
#define MITOSIS_PINNED 4u
/** What of its open files cannot come along is left out, not refused: named on standard error; in a
 * child its descriptor reads as ended and refuses writes. */
#define MITOSIS_LOSSY 8u
/** mitosis_prepare with any of these `flags`. */
int mitosis_prepare_as(int sd, uint64_t handler, const char* policy, unsigned flags,
                       struct mitosis_key* key);

/** Prepares another process, which need not know of it and may have any number of threads, under
 * `handler`: as if it had forked, with each of its threads where it stands, and with all processes
 * below it. Whose processes the caller may prepare is ptrace's rule: its own user's, with no more
 * capabilities; root every one. Returns 0 with *key filled in; or -1, and the process is as before.
 */
int mitosis_prepare_process(int sd, int32_t pid, uint64_t handler, const char* policy,
                            struct mitosis_key* key);
/** For mitosis_prepare_process_as: without the processes that it has made, as by fork(). */
#define MITOSIS_ALONE 16u
/** mitosis_prepare_process with MITOSIS_ALONE or MITOSIS_LOSSY, or both; other `flags` are refused
 * (MITOSIS_EINVALID). */
int mitosis_prepare_process_as(int sd, int32_t pid, uint64_t handler, const char* policy,
                               unsigned flags, struct mitosis_key* key);

/** Registers what is to be done around each prepare of this process, as pthread_atfork does for
 * fork; each may be NULL and gets `data`. `before`: before it, in reverse order of registration;
 * `parent`: after it, also after one that failed, in order; `child`: in each child, before prepare
 * returns there, in order. They run on the thread that prepares. Returns a number for
 * mitosis_remove_hooks (which returns -1 where there is none of it). See docs/hooks.md. */
typedef void (*mitosis_hook)(void* data); /* NOLINT(modernize-use-using): this is C */
int mitosis_at_fork(mitosis_hook before, mitosis_hook parent, mitosis_hook child, void* data);
int mitosis_remove_hooks(int number);

/** Has `call(data)` run in each child of this process that somebody prepares by its pid, whatever
 * it is doing then: on the child's main thread, before that goes on, as a signal handler does, so
 * it must be async-signal-safe. Takes a real-time signal and puts its handler there, at each call
 * anew; `call` may be NULL. Up to 16, for good. Returns the signal's number, or -1. */
int mitosis_at_resume(mitosis_hook call, void* data);
/** Seeds OpenSSL's generator (the shared library's) anew. A prepare that the program calls does so
 * in its children by itself; those of mitosis_at_resume do it once they are no handler any more. */
void mitosis_renew(void);

/** Which child a resumed child is. */
struct mitosis_identity {
  uint8_t unique[16];      /**< random: no two children ever have the same */
  uint32_t parent_machine; /**< where its parent was prepared */
  uint32_t machine;        /**< where it was resumed */
  uint64_t handler;        /**< its parent's */
  uint64_t generation;     /**< tells two parents of the same handler apart */
  uint64_t instance;       /**< the agent's number of it on `machine`, from 1 */
};
/** Returns 1 with *identity filled in if this process is a resumed child, or was forked by one;
 * else 0. */
int mitosis_get_identity(struct mitosis_identity* identity);

/** The calling process becomes a child of `handler` on `machine`, as execve would make it another
 * program: its pid, standard streams and user stay. `policy` NULL: the one it was prepared with.
 * Returns only on failure: -1, and the caller is as before. It must be the only thread. */
int mitosis_resume_remote(int sd, uint32_t machine, uint64_t handler, const struct mitosis_key* key,
                          const char* policy);
/** The same for a handler of this machine. `key` NULL: the caller's own, or one that needs none. */
int mitosis_resume_local(int sd, uint64_t handler, const struct mitosis_key* key,
                         const char* policy);

/** Ends a handler that the caller's user has prepared on this machine (root: any). When it returns
 * 0 no page of it is served any more. Children that need more pages get SIGBUS. */
int mitosis_reclaim(int sd, uint64_t handler);
/** The same for a handler of any machine and user, by its key. */
int mitosis_reclaim_remote(int sd, uint32_t machine, uint64_t handler,
                           const struct mitosis_key* key);

/** Makes `machine` known as the agent at `address` ("host:port"), behind nic `nic`. Root only. */
int mitosis_connect(int sd, uint32_t machine, uint32_t nic, const char* address);
/** Does nothing by way of the agent: 0, or -1 if it does not answer. */
int mitosis_nil(int sd);
/** The same by way of the agent of `machine`, which this machine's agent must know. */
int mitosis_ping(int sd, uint32_t machine);

/** The agent's counters, a JSON object whose "machine" is its id, into the `room` bytes of `json`,
 * with a zero. Returns the length without it, which may be more than there was room for, or -1. */
int mitosis_stats(int sd, char* json, uint32_t room);

/** A child that the agent has made for the caller. */
struct mitosis_child {
  int32_t pid;
  int32_t pidfd; /**< the caller's to close; readable once the child has ended */
};
/** Makes `count` children with the caller's identity and `stdio` as their descriptors 0 to 2 (NULL:
 * /dev/null). Returns 0 with `count` entries of `children` filled in, or -1 and there are none. */
int mitosis_spawn(int sd, uint32_t machine, uint64_t handler, const struct mitosis_key* key,
                  const char* policy, uint32_t count, const int stdio[3],
                  struct mitosis_child* children);
/** Waits at most `timeout_ms` for the end of a child spawned over `sd`. Returns 1 with *pid and
 * *status (as of waitpid) filled in, 0 when the time is over, or -1. */
int mitosis_wait(int sd, int32_t* pid, int32_t* status, int timeout_ms);

/** The key as 32 hexadecimal digits and a zero, and back (-1: not a key). */
void mitosis_key_format(const struct mitosis_key* key, char text[33]);
int mitosis_key_parse(const char* text, struct mitosis_key* key);

/** What kept this thread's last failed call from succeeding: a stable number (MITOSIS_E...), ... */
int mitosis_errno(void);
/** ... and a sentence that says what failed, where, and what to do; valid until the next failure
 * of this thread. */
const char* mitosis_strerror(void);

/** The numbers of mitosis_errno. Never renumbered. */
enum mitosis_error {
  MITOSIS_EINVALID = 1,
  MITOSIS_EUNKNOWN_HANDLER = 2,
  MITOSIS_EHANDLER_IN_USE = 3,
  MITOSIS_EWRONG_KEY = 4,
  MITOSIS_ENOT_PERMITTED = 5,
  MITOSIS_EPRIVILEGE = 6,
  MITOSIS_ENO_AGENT = 7,
  MITOSIS_EMACHINE_UNKNOWN = 8,
  MITOSIS_EMACHINE_UNREACHABLE = 9,
  MITOSIS_ECONNECTION_LOST = 10,
  MITOSIS_ETIMED_OUT = 11,
  MITOSIS_EAUTHENTICATION = 12,
  MITOSIS_EPROTOCOL = 13,
  MITOSIS_EBAD_MESSAGE = 14,
  MITOSIS_EBAD_DESCRIPTOR = 15,
  MITOSIS_EARCHITECTURE = 16,
  MITOSIS_ECPU_FEATURE = 17,
  MITOSIS_EVDSO = 18,
  MITOSIS_EADDRESS_IN_USE = 19,
  MITOSIS_EBUDGET = 20,
  MITOSIS_ENO_MEMORY = 21,
  MITOSIS_EPOLICY_UNKNOWN = 22,
  MITOSIS_EPOLICY_NOT_COMPILED = 23,
  MITOSIS_EUNSUPPORTED_PROCESS = 24,
  MITOSIS_EUNSUPPORTED_FILE = 25,
  MITOSIS_EFILE_MISSING = 26,
  MITOSIS_EREVOKED = 27,
  MITOSIS_ELEASE = 28,
  MITOSIS_EPAGE = 29,
  MITOSIS_ECHILD_DIED = 30,
  MITOSIS_ESYSTEM = 31,
  MITOSIS_ESHUTTING_DOWN = 32,
  MITOSIS_ETRANSPORT = 33,
  MITOSIS_ELIMIT = 34
};

/* The names of the original system's calls; the key is new. */
/* NOLINTBEGIN(modernize-use-nullptr,modernize-redundant-void-arg): this is C */
static inline int sopen(void) {
  return mitosis_open();
}
static inline int fork_prepare(int sd, uint64_t handler, struct mitosis_key* key) {
  return mitosis_prepare(sd, handler, (const char*)0, key);
}
static inline int fork_resume_remote(int sd, uint32_t machine, uint64_t handler,
                                     const struct mitosis_key* key) {
  return mitosis_resume_remote(sd, machine, handler, key, (const char*)0);
}
static inline int fork_resume_local(int sd, uint64_t handler, const struct mitosis_key* key) {
  return mitosis_resume_local(sd, handler, key, (const char*)0);
}
static inline int fork_reclaim(int sd, uint64_t handler) {
  return mitosis_reclaim(sd, handler);
}
/* NOLINTEND(modernize-use-nullptr,modernize-redundant-void-arg) */

#ifdef __cplusplus
}
#endif

#endif
