// SPDX-License-Identifier: MIT
// All local messages: what a program says to its machine's agent, and hears. World: user.
// Each is a struct with its number and its fields; net/wire/codec.hpp makes packets of them.
// Who sends is never in a message: the kernel's SCM_CREDENTIALS tell that, packet by packet.
#pragma once

#include <mitosis/fork/user/local/basic.hpp>
#include <mitosis/fork/user/local/list.hpp>
#include <mitosis/fork/user/local/prepare.hpp>
#include <mitosis/fork/user/local/resume.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>
#include <mitosis/fork/user/local/spawn.hpp>
#include <mitosis/fork/user/local/type.hpp>
