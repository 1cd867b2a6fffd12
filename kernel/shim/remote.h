// SPDX-License-Identifier: MIT OR GPL-2.0
// What the two sides of RDMA say to each other at a connection's begin. World: kernel.
// peer: hello without proofs; owner: refusal with a challenge; peer: hello with the challenge and
// its proofs; owner: accepts, registers, sends the welcome. Only then is anything readable.
#ifndef MITOSIS_REMOTE_H
#define MITOSIS_REMOTE_H

#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

#include "shim.h"

enum {
  MITOSIS_MAGIC = 0x6d746b33,  // its last digit is the wire's version
  MITOSIS_DEPTH = 16,          // reads that a peer may have out
  MITOSIS_BATCH = 128,         // reads of one doorbell
  MITOSIS_WAIT_MS = 3000,      // of each step of a connection, and of a batch of reads
  MITOSIS_PIECE_PAGES = 512,   // that one key opens, at most
  MITOSIS_PROOF_BYTES = 8,
};
// No handler: only asks whether somebody listens who has the same secret.
#define MITOSIS_NO_HANDLER (~0ull)

// The owner keeps nothing of it: the seal tells it that it was its own.
struct mitosis_challenge {
  u64 time;
  u8 seal[MITOSIS_PROOF_BYTES];
};
// What opens the handler: its key, or, for who has its descriptor, the target that this names.
enum { MITOSIS_BY_KEY, MITOSIS_BY_TARGET };
struct mitosis_hello {  // with the connection's request; 56 bytes find room there
  u32 magic, by;
  u64 handler, nonce;
  struct mitosis_challenge challenge;     // zeros: asks for one
  u8 machine_proof[MITOSIS_PROOF_BYTES];  // that it has the cluster's secret
  u8 handler_proof[MITOSIS_PROOF_BYTES];  // that it has what opens the handler
};
static_assert(sizeof(struct mitosis_hello) <= 56);
struct mitosis_refusal {  // with its rejection
  u32 magic;
  s32 error;  // 0: there was nothing to refuse; -EAGAIN: prove yourself
  struct mitosis_challenge challenge;
};

// Consecutive pages that one key opens: of the descriptor and the table of pieces behind it, or of
// the captured pages. All but the last have as many pages.
struct mitosis_piece {
  u64 address;
  u32 key, reserved;
};
enum { MITOSIS_WELCOME_PIECES = 250 };
struct mitosis_welcome {  // sent once the connection stands
  u32 magic;
  s32 error;
  u8 proof[MITOSIS_PROOF_BYTES];  // that the owner has the secret and what opens it too
  u64 descriptor_bytes, page_count;
  u32 piece_pages, blob_pieces;
  struct mitosis_piece blob[MITOSIS_WELCOME_PIECES];
};
static_assert(sizeof(struct mitosis_welcome) <= PAGE_SIZE);

// auth.c: who proves what. A null key is that of a handler which was prepared without one.
enum mitosis_side { MITOSIS_PEER, MITOSIS_OWNER };
void mitosis_prove_machine(const struct mitosis_hello* hello, u8* proof);
void mitosis_prove_handler(enum mitosis_side side, const struct mitosis_hello* hello, const u8* key,
                           u8* proof);
// What is proved of a target: as long as a key.
void mitosis_target_key(u64 target_key, u64 generation, u8* key);
bool mitosis_is_proof(const u8* told, const u8* right);
void mitosis_challenge(const struct mitosis_hello* hello, struct mitosis_challenge* challenge);
// 0, or why its challenge does not count: -EAGAIN (none, or an old one), -EBUSY (too many).
int mitosis_challenge_check(const struct mitosis_hello* hello);

// export.c: what of a prepared parent is readable, under its lock.
int mitosis_export_open(struct mitosis_prepared* prepared, struct ib_device* device);
// Grants it; the queue pair is connected, `pd`'s, and sends on a queue of `mitosis_export_room`.
struct ib_pd* mitosis_export_pd(const struct mitosis_prepared* prepared);
enum { MITOSIS_REGISTER_BATCH = 32 };
int mitosis_export_grant(struct mitosis_prepared* prepared, struct ib_qp* qp);
void mitosis_export_tell(const struct mitosis_prepared* prepared, struct mitosis_welcome* welcome);

#endif
