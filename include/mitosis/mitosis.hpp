// SPDX-License-Identifier: MIT
// The C++ interface of mitosis, header-only. World: user.
//
//   auto agent = mitosis::Agent::open();
//   auto prepared = agent->prepare(mitosis::HandlerId{73});
//   if (!prepared) std::puts(mitosis::describe(prepared.error()).c_str());
//   else if (prepared->child) ...   runs wherever somebody has resumed it
//   else ...                        goes on; prepared->key lets others resume it
#pragma once

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/client/agent_handle.hpp>
#include <mitosis/fork/user/client/hooks.hpp>
#include <mitosis/fork/user/client/identity.hpp>
#include <mitosis/fork/user/client/key_text.hpp>
