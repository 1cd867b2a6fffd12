// SPDX-License-Identifier: MIT
// RemoteSpace: a few pages in a traced process, for code and what it works on. World: user.
// While they are mapped or unmapped the leader has registers of ours and no frame to fall back on:
// a tracer that is killed in these two system calls leaves it at a wrong instruction.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/arch/trace.hpp>
#include <mitosis/fork/user/capture/trace/system_call_site.hpp>
#include <mitosis/fork/user/capture/trace/tracee.hpp>
#include <mitosis/mem/page.hpp>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// Owns the pages: at its end, all threads are out of them and they are unmapped. Its tracee's
/// threads must be held when it is made. What is put in is collected here and written at once.
class RemoteSpace {
 public:
  /// Maps `bytes` that may be read, written and executed, and puts the code at their start.
  static Result<RemoteSpace> map(Tracee& tracee, const StopClock& clock, std::size_t bytes) {
    Result<UniqueFd> memory = [&]() -> Result<UniqueFd> {
      UniqueFd fd(::openat(tracee.process(), "mem", O_RDWR | O_CLOEXEC));
      if (!fd) return Error(Errc::missing_privilege, "/proc/PID/mem", errno).in("trace");
      return fd;
    }();
    if (!memory) return memory.error();
    const Result<std::uint64_t> instruction =
        find_system_call(tracee.leader(), tracee.process(), memory->get());
    if (!instruction) return instruction.error();
    bytes = (bytes + page_size - 1) & ~(page_size - 1);
    const auto at =
        tracee.leader().call(clock, *instruction, SYS_mmap,
                             {0, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ~std::uint64_t{0}, 0});
    if (!at) return at.error();
    if (*at < 0 && *at > -4096) {
      return Error(Errc::unsupported_process, "it may not map executable memory",
                   static_cast<int>(-*at))
          .in("trace");
    }
    RemoteSpace space(tracee, std::move(*memory), *instruction, static_cast<std::uint64_t>(*at),
                      bytes);
    const Bytes code = arch::remote_code();
    (void)space.put_bytes(code, 16);
    space.code_bytes_ = code.size();
    return space;
  }
  RemoteSpace(RemoteSpace&& other) noexcept
      : tracee_(std::exchange(other.tracee_, nullptr)),
        memory_(std::move(other.memory_)),
        instruction_(other.instruction_),
        base_(other.base_),
        bytes_(other.bytes_),
        code_bytes_(other.code_bytes_),
        content_(std::move(other.content_)) {}
  RemoteSpace& operator=(RemoteSpace&&) = delete;
  ~RemoteSpace() {
    if (tracee_ == nullptr) return;
    const StopClock clock(TracedThread::rollback_patience);
    for (TracedThread& thread : tracee_->threads()) (void)thread.settle(clock);
    (void)unmap(clock);
  }

  [[nodiscard]] std::uint64_t code() const noexcept { return base_; }
  [[nodiscard]] std::uint64_t code_bytes() const noexcept { return code_bytes_; }
  [[nodiscard]] std::uint64_t start() const noexcept { return base_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return base_ + bytes_; }
  [[nodiscard]] int memory() const noexcept { return memory_.get(); }  ///< /proc/PID/mem
  /// A system call instruction of the program's own.
  [[nodiscard]] std::uint64_t instruction() const noexcept { return instruction_; }

  /// Where in the process this will be once it is written; `at` changes it until then.
  template <class T>
  std::uint64_t put(const T& object, std::size_t count = 1) {
    return put_bytes(Bytes(reinterpret_cast<const std::uint8_t*>(&object), sizeof(T) * count),
                     alignof(T));
  }
  std::uint64_t put_bytes(Bytes bytes, std::size_t alignment) {
    const std::uint64_t address = reserve(bytes.size(), alignment);
    std::memcpy(local(address), bytes.data(), bytes.size());
    return address;
  }
  /// Zeroed.
  std::uint64_t reserve(std::size_t bytes, std::size_t alignment) {
    const std::size_t at = (content_.size() + alignment - 1) & ~(alignment - 1);
    content_.resize(at + bytes);
    return base_ + at;
  }
  /// The local copy of what is at an address, until the next `put`.
  [[nodiscard]] std::uint8_t* local(std::uint64_t address) noexcept {
    return content_.data() + (address - base_);
  }
  /// Writes all that was put in.
  Result<void> write() const {
    if (content_.size() > bytes_) {
      return Error(Errc::limit_exceeded, "more threads, or mappings with MADV_DONTFORK, than fit")
          .in("trace");
    }
    const ssize_t n =
        ::pwrite(memory_.get(), content_.data(), content_.size(), static_cast<off_t>(base_));
    if (n == static_cast<ssize_t>(content_.size())) return {};
    return Error(Errc::system_call_failed, "/proc/PID/mem", n < 0 ? errno : EIO).in("trace");
  }
  /// What is there now.
  template <class T>
  Result<void> read(std::uint64_t address, T* to, std::size_t count = 1) const {
    const auto bytes = static_cast<ssize_t>(sizeof(T) * count);
    if (::pread(memory_.get(), to, sizeof(T) * count, static_cast<off_t>(address)) == bytes) {
      return {};
    }
    return Error(Errc::system_call_failed, "/proc/PID/mem", errno).in("trace");
  }

  /// The leader gives the pages back. All threads must be held with their own registers.
  Result<void> unmap(const StopClock& clock) noexcept {
    Tracee* const tracee = std::exchange(tracee_, nullptr);
    const auto done =
        tracee->leader().call(clock, instruction_, SYS_munmap, {base_, bytes_, 0, 0, 0, 0});
    if (!done) return done.error();
    if (*done == 0) return {};
    return Error(Errc::system_call_failed, "munmap", static_cast<int>(-*done)).in("trace");
  }

 private:
  RemoteSpace(Tracee& tracee, UniqueFd memory, std::uint64_t instruction, std::uint64_t base,
              std::size_t bytes) noexcept
      : tracee_(&tracee),
        memory_(std::move(memory)),
        instruction_(instruction),
        base_(base),
        bytes_(bytes) {}

  Tracee* tracee_;
  UniqueFd memory_;
  std::uint64_t instruction_, base_;
  std::size_t bytes_;
  std::uint64_t code_bytes_ = 0;
  std::vector<std::uint8_t> content_;
};

}  // namespace mitosis::capture
