// SPDX-License-Identifier: MIT
// Libraries' random numbers that two children must not share. World: user.
// OpenSSL's generator notices a fork by its pid, which a child in another pid namespace may share
// with its parent and its siblings. (glibc's arc4random and getrandom ask the kernel each time.)
// Its functions are looked for in the parent: the dynamic linker's search reads something of every
// library that is loaded, and in a child each of these pages would come over the network.
#pragma once

#include <dlfcn.h>
#include <link.h>
#include <sys/random.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mitosis::client {

/// A process's OpenSSL, of which only the shared library is found (RAND_poll(3), RAND_add(3)).
class Randomness {
 public:
  /// In a program, before its clone. Looks again only where libraries were loaded or unloaded
  /// since. For where dlopen(3) may be called.
  void find() noexcept {
    Loaded loaded;
    (void)::dl_iterate_phdr(&count, &loaded);
    if (loaded.changes != 0 && loaded.changes == found_at_) return;
    (void)::dl_iterate_phdr(&collect, &loaded);
    for (std::size_t i = 0; i < most; ++i) {
      // At no moment none: another thread may be cloning the process.
      generators_[i] = loaded.names[i] != nullptr ? functions_of(loaded.names[i]) : Generator{};
    }
    found_at_ = loaded.changes;
  }
  /// In a child, before anything else of it runs: the kernel seeds its generators anew.
  void renew() const noexcept {
    for (const Generator& generator : generators_) {
      if (generator.poll != nullptr && generator.poll() == 1) continue;
      if (generator.add == nullptr) continue;
      unsigned char fresh[32];
      const auto got = ::getrandom(fresh, sizeof fresh, 0);
      if (got > 0) generator.add(fresh, static_cast<int>(got), static_cast<double>(got));
    }
  }

 private:
  static constexpr std::size_t most = 2;  ///< versions of it in one process
  struct Generator {
    int (*poll)() = nullptr;
    void (*add)(const void*, int, double) = nullptr;
  };
  struct Loaded {
    std::uint64_t changes = 0;  ///< grows with each that comes or goes; 0: libc does not tell
    const char* names[most] = {};
  };

  /// The first library tells as much as the others.
  static int count(dl_phdr_info* info, std::size_t size, void* to) noexcept {
    constexpr std::size_t whole = offsetof(dl_phdr_info, dlpi_subs) + sizeof(info->dlpi_subs);
    if (size >= whole) static_cast<Loaded*>(to)->changes = info->dlpi_adds + info->dlpi_subs;
    return 1;
  }
  static int collect(dl_phdr_info* info, std::size_t, void* to) noexcept {
    constexpr char crypto[] = "libcrypto.so";
    const char* const slash = std::strrchr(info->dlpi_name, '/');
    const char* const file = slash != nullptr ? slash + 1 : info->dlpi_name;
    if (std::strncmp(file, crypto, sizeof crypto - 1) != 0) return 0;
    for (const char*& name : static_cast<Loaded*>(to)->names) {
      if (name != nullptr) continue;
      name = info->dlpi_name;
      return 0;
    }
    return 1;
  }
  static Generator functions_of(const char* name) noexcept {
    Generator found;
    void* const library = ::dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) return found;
    found.poll = reinterpret_cast<int (*)()>(::dlsym(library, "RAND_poll"));
    found.add = reinterpret_cast<void (*)(const void*, int, double)>(::dlsym(library, "RAND_add"));
    (void)::dlclose(library);
    return found;
  }

  std::uint64_t found_at_ = 0;
  std::array<Generator, most> generators_ = {};
};

/// This process's.
inline Randomness& randomness() noexcept {
  static constinit Randomness all;
  return all;
}

}  // namespace mitosis::client
