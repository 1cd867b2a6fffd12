// SPDX-License-Identifier: MIT OR GPL-2.0
// Who may connect: machines that have the cluster's secret, and of those who has the handler's key.
// World: kernel. Proofs are keyed BLAKE2s, of which 64 bits are told: they can be guessed at only
// by connecting. A challenge holds for one connection, and for seconds.
#include <crypto/blake2s.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/random.h>

#include "remote.h"

enum { LEAST_SECRET = 16, USED = 4096, LIFE_SECONDS = 10 };

static char* secret;
module_param(secret, charp, 0);
MODULE_PARM_DESC(secret,
                 "what the cluster's machines have in common, 16 characters or more; "
                 "needed with port");

static u8 machine_key[BLAKE2S_KEY_SIZE];  // the secret
static u8 seal_key[BLAKE2S_KEY_SIZE];     // this module's own

// Challenges that were answered rightly: none counts twice.
static DEFINE_MUTEX(used_lock);
static struct used { u64 time, nonce; } used[USED];
static unsigned int next_used;

int mitosis_auth_begin(bool needed) {
  const size_t length = secret ? strlen(secret) : 0;
  int error;

  get_random_bytes(seal_key, sizeof(seal_key));
  if (length < LEAST_SECRET) {
    if (!needed && !length) return 0;
    pr_err("port needs secret=, at least %d characters that all machines have in common\n",
           LEAST_SECRET);
    return -EINVAL;
  }
  blake2s(machine_key, secret, NULL, sizeof(machine_key), length, 0);
  error = mitosis_mac_begin(secret, length);
  memzero_explicit(secret, length);
  return error;
}

void mitosis_auth_end(void) {
  mitosis_mac_end();
  memzero_explicit(machine_key, sizeof(machine_key));
  memzero_explicit(seal_key, sizeof(seal_key));
}

static void begin(struct blake2s_state* state, const u8* key, u8 purpose, size_t bytes) {
  blake2s_init_key(state, bytes, key, BLAKE2S_KEY_SIZE);
  blake2s_update(state, &purpose, 1);
}

// What both sides know of this attempt and no other has.
static void add_hello(struct blake2s_state* state, const struct mitosis_hello* hello) {
  blake2s_update(state, (const u8*)&hello->by, sizeof(hello->by));
  blake2s_update(state, (const u8*)&hello->handler, sizeof(hello->handler));
  blake2s_update(state, (const u8*)&hello->nonce, sizeof(hello->nonce));
  blake2s_update(state, (const u8*)&hello->challenge, sizeof(hello->challenge));
}

void mitosis_prove_machine(const struct mitosis_hello* hello, u8* proof) {
  struct blake2s_state state;

  begin(&state, machine_key, 'm', MITOSIS_PROOF_BYTES);
  add_hello(&state, hello);
  blake2s_final(&state, proof);
}

void mitosis_prove_handler(enum mitosis_side side, const struct mitosis_hello* hello, const u8* key,
                           u8* proof) {
  struct blake2s_state state;
  u8 both[BLAKE2S_KEY_SIZE];

  begin(&state, machine_key, key ? 'k' : 'n', sizeof(both));
  if (key) blake2s_update(&state, key, MITOSIS_KEY_BYTES);
  blake2s_final(&state, both);
  begin(&state, both, side == MITOSIS_OWNER ? 'o' : 'p', MITOSIS_PROOF_BYTES);
  add_hello(&state, hello);
  blake2s_final(&state, proof);
  memzero_explicit(both, sizeof(both));
}

void mitosis_target_key(u64 target_key, u64 generation, u8* key) {
  static_assert(MITOSIS_KEY_BYTES == sizeof(target_key) + sizeof(generation));
  memcpy(key, &target_key, sizeof(target_key));
  memcpy(key + sizeof(target_key), &generation, sizeof(generation));
}

// In the same time, whatever is told.
static bool is_equal(const u8* told, const u8* right, unsigned int bytes) {
  unsigned int i;
  u8 difference = 0;

  for (i = 0; i < bytes; i++) difference |= READ_ONCE(told[i]) ^ right[i];
  return difference == 0;
}
bool mitosis_is_proof(const u8* told, const u8* right) {
  return is_equal(told, right, MITOSIS_PROOF_BYTES);
}
bool mitosis_is_key(const u8* told, const u8* right) {
  return is_equal(told, right, MITOSIS_KEY_BYTES);
}

static void seal(const struct mitosis_hello* hello, u64 time, u8* into) {
  struct blake2s_state state;

  begin(&state, seal_key, 's', MITOSIS_PROOF_BYTES);
  blake2s_update(&state, (const u8*)&time, sizeof(time));
  blake2s_update(&state, (const u8*)&hello->handler, sizeof(hello->handler));
  blake2s_update(&state, (const u8*)&hello->nonce, sizeof(hello->nonce));
  blake2s_final(&state, into);
}

void mitosis_challenge(const struct mitosis_hello* hello, struct mitosis_challenge* challenge) {
  challenge->time = ktime_get_ns();
  seal(hello, challenge->time, challenge->seal);
}

int mitosis_challenge_check(const struct mitosis_hello* hello) {
  const u64 now = ktime_get_ns(), life = LIFE_SECONDS * NSEC_PER_SEC;
  u8 right[MITOSIS_PROOF_BYTES];
  int result = 0;
  unsigned int i;

  seal(hello, hello->challenge.time, right);
  if (!mitosis_is_proof(hello->challenge.seal, right)) return -EAGAIN;
  if (hello->challenge.time > now || now - hello->challenge.time > life) return -EAGAIN;
  mitosis_prove_machine(hello, right);
  if (!mitosis_is_proof(hello->machine_proof, right)) return -EACCES;
  mutex_lock(&used_lock);
  for (i = 0; i < USED && !result; i++) {
    if (used[i].time == hello->challenge.time && used[i].nonce == hello->nonce) result = -EAGAIN;
  }
  if (!result && used[next_used].time && now - used[next_used].time <= life) result = -EBUSY;
  if (!result) {
    used[next_used] = (struct used){hello->challenge.time, hello->nonce};
    next_used = (next_used + 1) % USED;
  }
  mutex_unlock(&used_lock);
  return result;
}
