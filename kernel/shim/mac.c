// SPDX-License-Identifier: MIT OR GPL-2.0
// The agents' proofs: HMAC-SHA512 under the BLAKE2b of the cluster's secret. World: kernel.
// Both are the kernel's own, in modules of their own.
#include <crypto/hash.h>
#include <linux/module.h>

#include "shim.h"

MODULE_SOFTDEP("pre: blake2b_generic sha512_generic");

enum { KEY_BYTES = 32, WHOLE_MAC_BYTES = 64 };

static struct crypto_shash* hmac;

int mitosis_mac_begin(const char* secret, size_t length) {
  struct crypto_shash* blake2b = crypto_alloc_shash("blake2b-256", 0, 0);
  u8 key[KEY_BYTES];
  int error = PTR_ERR_OR_ZERO(blake2b);

  if (!error) {
    error = crypto_shash_tfm_digest(blake2b, secret, length, key);
    crypto_free_shash(blake2b);
  }
  if (!error) {
    hmac = crypto_alloc_shash("hmac(sha512)", 0, 0);
    error = PTR_ERR_OR_ZERO(hmac);
    if (error) hmac = NULL;
  }
  if (!error) error = crypto_shash_setkey(hmac, key, sizeof(key));
  memzero_explicit(key, sizeof(key));
  if (error) {
    pr_err("secret needs the kernel's modules blake2b_generic and sha512_generic: error %d\n",
           error);
    mitosis_mac_end();
  }
  return error;
}

void mitosis_mac_end(void) {
  if (hmac) crypto_free_shash(hmac);
  hmac = NULL;
}

bool mitosis_has_mac(void) {
  return hmac != NULL;
}

int mitosis_shim_mac(const void* bytes, mitosis_size count, unsigned char* mac) {
  u8 whole[WHOLE_MAC_BYTES];
  int error = hmac ? crypto_shash_tfm_digest(hmac, bytes, count, whole) : -ENOKEY;

  if (!error) memcpy(mac, whole, MITOSIS_MAC_BYTES);
  return error;
}
