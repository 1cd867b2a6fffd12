// SPDX-License-Identifier: MIT
// The functions that stand before libc's in a preloaded program: open and its kin, ioctl, close.
// World: user. Each lets everything but the device through, at the cost of a comparison.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>

#include "calls.hpp"
#include "stand_in.hpp"

namespace {

using namespace mitosis::device;  // NOLINT: this file is all about it

/// Libc's function of that name: the next definition after ours.
template <class F>
class Real {
 public:
  constexpr explicit Real(const char* name) noexcept : name_(name) {}
  /// A constructor of another library may call before ours has run: looked up when first needed.
  F* get() noexcept {
    if (found_ == nullptr) found_ = reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name_));
    return found_;
  }

 private:
  const char* name_;
  F* found_ = nullptr;
};
constinit Real<int(int, const char*, int, ...)> real_openat("openat64");
constinit Real<int(const char*, int)> real_open_2("__open_2"), real_open64_2("__open64_2");
constinit Real<int(int, const char*, int)> real_openat_2("__openat_2"),
    real_openat64_2("__openat64_2");
constinit Real<int(int, unsigned long, ...)> real_ioctl("ioctl");
constinit Real<int(int)> real_close("close");

/// dlsym may not be called in a signal handler or between fork and exec; the functions may.
[[gnu::constructor]] void look_all_up() {
  (void)real_openat.get(), (void)real_ioctl.get(), (void)real_close.get();
  (void)real_open_2.get(), (void)real_open64_2.get();
  (void)real_openat_2.get(), (void)real_openat64_2.get();
}

int open_device(int flags) noexcept {
  if (look_for_agent() != 0) return -1;
  return real_openat.get()(AT_FDCWD, stand_in, stand_in_flags | (flags & O_CLOEXEC));
}

/// The third argument of open(2), which is only there where a file may be created.
mode_t mode_of(int flags, va_list arguments) noexcept {
  const bool takes_one = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return takes_one ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

#define EXPORT extern "C" [[gnu::visibility("default")]]
#define OPEN(directory)                          \
  if (is_path(path)) return open_device(flags);  \
  va_list arguments;                             \
  va_start(arguments, flags);                    \
  const mode_t mode = mode_of(flags, arguments); \
  va_end(arguments);                             \
  return real_openat.get()(directory, path, flags, mode)

EXPORT int open(const char* path, int flags, ...) {
  OPEN(AT_FDCWD);
}
EXPORT int open64(const char* path, int flags, ...) {
  OPEN(AT_FDCWD);
}
EXPORT int openat(int directory, const char* path, int flags, ...) {
  OPEN(directory);
}
EXPORT int openat64(int directory, const char* path, int flags, ...) {
  OPEN(directory);
}

// What -D_FORTIFY_SOURCE makes of the calls above where the flags are not constant. Libc's own end
// a program that creates a file without saying its mode, so libc's own must run.
// NOLINTBEGIN(bugprone-reserved-identifier): they are libc's names
EXPORT int __open_2(const char* path, int flags) {
  return is_path(path) ? open_device(flags) : real_open_2.get()(path, flags);
}
EXPORT int __open64_2(const char* path, int flags) {
  return is_path(path) ? open_device(flags) : real_open64_2.get()(path, flags);
}
EXPORT int __openat_2(int directory, const char* path, int flags) {
  return is_path(path) ? open_device(flags) : real_openat_2.get()(directory, path, flags);
}
EXPORT int __openat64_2(int directory, const char* path, int flags) {
  return is_path(path) ? open_device(flags) : real_openat64_2.get()(directory, path, flags);
}

// NOLINTEND(bugprone-reserved-identifier)

EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  const auto argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  // No driver of Linux has such small requests; what the device has not either gets /dev/null's
  // answer, ENOTTY.
  if (request <= call_nil_rpc && is_stand_in(fd)) return call(request, argument);
  return real_ioctl.get()(fd, request, argument);
}

EXPORT int close(int fd) {
  const bool ends = ends_with_descriptors() && is_stand_in(fd);
  const int done = real_close.get()(fd);
  if (ends && done == 0) closed();
  return done;
}
