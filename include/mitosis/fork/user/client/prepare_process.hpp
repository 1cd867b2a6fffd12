// SPDX-License-Identifier: MIT
// prepare_process: prepares another process, that need not know of it. World: user.
#pragma once

#include <mitosis/fork/user/client/requests.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

namespace mitosis::client {

/// What of it is prepared.
struct ProcessOptions {
  bool alone = false;  ///< without the processes that it has made, as by fork()
  bool lossy = false;  ///< open files that cannot come along are left out, and told in `dropped`
};

/// Prepares the process `pid` under `handler` with the policy of that name (null: the agent's
/// default): as if it had forked, with all its threads, where each of them stands, and with all
/// processes below it. Whom the caller may prepare is ptrace(2)'s access rule. After an error every
/// process is as before.
inline Result<local::ProcessPrepared> prepare_process(int sd, pid_t pid, HandlerId handler,
                                                      const char* policy = nullptr,
                                                      ProcessOptions options = {}) {
  shadows().reap();
  local::PrepareProcess request;
  request.pid = pid;
  request.handler = handler;
  request.policy = policy != nullptr ? policy : "";
  request.alone = options.alone;
  request.lossy = options.lossy;
  auto prepared = connections().call<local::ProcessPrepared>(sd, request, request_patience);
  if (!prepared) prepared.error().of_handler(handler).in("prepare");
  return prepared;
}

}  // namespace mitosis::client
