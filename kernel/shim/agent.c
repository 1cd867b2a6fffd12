// SPDX-License-Identifier: MIT OR GPL-2.0
// What another machine's agent, or a module's TCP side, is asked besides pages. World: kernel.
// What is said is the C++'s (fork/kernel/agent_calls.hpp); here are the connections. A session is
// made for each call: an agent serves a bounded number of them, and calls are few.
#include "agent.h"

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

int mitosis_agent_query(const struct sockaddr_in* to, u32 machine, u64 handler, const u8* key,
                        struct mitosis_fetched* into) {
  struct mitosis_socket* session;
  sigset_t before;
  int error;

  mitosis_signals_block(&before);
  error = open_session(to, machine, &session);
  if (!error) {
    error = mitosis_core_query(session, 1, handler, key, into);
    mitosis_socket_close(session);
  }
  mitosis_signals_restore(&before);
  return error;
}

int mitosis_agent_renew(const struct sockaddr_in* to, const struct mitosis_owner* owner,
                        mitosis_u64* lease_ms) {
  struct mitosis_socket* session;
  int error = open_session(to, owner->machine, &session);

  if (error) return error;
  error = mitosis_core_renew(session, 1, owner->handler, owner->generation, lease_ms);
  mitosis_socket_close(session);
  return error;
}
