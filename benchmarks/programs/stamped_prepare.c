// SPDX-License-Identifier: MIT
// stamped_prepare: mitosis_prepare, and the time at once when it returns, before an interpreter
// does anything of its own. World: user. Called from numpy_parent.py through ctypes.
#define _POSIX_C_SOURCE 200809L
#include <mitosis/mitosis.h>
#include <time.h>

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/** times[0]: before the call, times[1]: after it, CLOCK_MONOTONIC. `key` is filled in as text. */
int stamped_prepare(int sd, uint64_t handler, const char* policy, char key[33], int64_t times[2]) {
  struct mitosis_key bytes;
  times[0] = now_ns();
  const int who = mitosis_prepare(sd, handler, policy, &bytes);
  times[1] = now_ns();
  if (who == MITOSIS_PARENT) mitosis_key_format(&bytes, key);
  return who;
}
