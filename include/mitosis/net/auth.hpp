// SPDX-License-Identifier: MIT
// Mutual authentication of agents by a shared cluster secret. World: user.
// It authenticates, it does NOT encrypt, and it does not protect what follows the handshake:
// who can read or change packets between the machines sees, and can alter, every page. Use it on a
// network that is trusted not to be tapped, or run it inside WireGuard or IPsec.
#pragma once

#include <mitosis/net/auth/handshake.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/auth/secret.hpp>
