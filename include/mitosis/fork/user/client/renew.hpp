// SPDX-License-Identifier: MIT
// renew_randomness(): libraries' random numbers that two children must not share. World: user.
// OpenSSL's generator notices a fork by its pid, which a child in another pid namespace may share
// with its parent and its siblings. (glibc's arc4random and getrandom ask the kernel each time.)
#pragma once

#include <dlfcn.h>
#include <sys/random.h>

#include <initializer_list>

namespace mitosis::client {

/// In a child, before anything else of it runs. Only what the program has loaded is touched; of
/// OpenSSL that is the shared library (RAND_poll(3), RAND_add(3)).
inline void renew_randomness() noexcept {
  for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1"}) {
    void* const library = ::dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    const auto add =
        reinterpret_cast<void (*)(const void*, int, double)>(::dlsym(library, "RAND_add"));
    const auto poll = reinterpret_cast<int (*)()>(::dlsym(library, "RAND_poll"));
    unsigned char fresh[32];
    const auto got = ::getrandom(fresh, sizeof fresh, 0);
    if (poll != nullptr) (void)poll();
    if (add != nullptr && got > 0) add(fresh, static_cast<int>(got), static_cast<double>(got));
    (void)::dlclose(library);
  }
}

}  // namespace mitosis::client
