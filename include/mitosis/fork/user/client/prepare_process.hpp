// SPDX-License-Identifier: MIT
// prepare_process: prepares another process, that need not know of it. World: user.
#pragma once

#include <mitosis/fork/user/client/requests.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

namespace mitosis::client {

/// Prepares the process `pid` under `handler` with the policy of that name (null: the agent's
/// default): as if it had forked, with all its threads, where each of them stands. Whom the caller
/// may prepare is ptrace(2)'s access rule. After an error the process is as before. `lossy`:
/// open files that cannot come along are left out.
inline Result<local::ProcessPrepared> prepare_process(int sd, pid_t pid, HandlerId handler,
                                                      const char* policy = nullptr,
                                                      bool lossy = false) {
  shadows().reap();
  local::PrepareProcess request;
  request.pid = pid;
  request.handler = handler;
  request.policy = policy != nullptr ? policy : "";
  request.lossy = lossy;
  auto prepared = connections().call<local::ProcessPrepared>(sd, request, request_patience);
  if (!prepared) prepared.error().of_handler(handler).in("prepare");
  return prepared;
}

}  // namespace mitosis::client
