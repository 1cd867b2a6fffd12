// SPDX-License-Identifier: MIT
// take_over(): the calling process becomes a child of a prepared parent. World: user.
// The story of a resume, in seven steps. Until the last everything can still be refused, and the
// caller goes on as if nothing had been; the last replaces its memory, and does not return.
#pragma once

#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/restore/checks.hpp>
#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/mapped_files.hpp>
#include <mitosis/fork/user/restore/offer.hpp>
#include <mitosis/fork/user/restore/own_memory.hpp>
#include <mitosis/fork/user/restore/rseq.hpp>
#include <mitosis/fork/user/restore/write_files.hpp>
#include <mitosis/fork/user/restore/write_memory.hpp>
#include <mitosis/fork/user/restore/write_process.hpp>
#include <mitosis/fork/user/restore/write_thread.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace mitosis::restore {

namespace detail {

/// Threads would go on running in memory that is replaced under them.
inline Result<void> check_single_thread() noexcept {
  struct stat tasks = {};
  if (::stat("/proc/self/task", &tasks) != 0) {
    return Error(Errc::system_call_failed, "/proc/self/task", errno).in("check the caller");
  }
  constexpr nlink_t of_one_thread = 3;  // ".", "..", and one for each
  if (tasks.st_nlink == of_one_thread) return {};
  return Error(Errc::invalid_argument, "the calling process has other threads")
      .in("check the caller");
}

/// A userfaultfd of the calling process; the agent enables its features, which takes privilege.
inline Result<UniqueFd> new_userfaultfd(int device) noexcept {
  const int fd = ::ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return Error(Errc::system_call_failed, "USERFAULTFD_IOC_NEW", errno).in("open a userfaultfd");
  }
  return UniqueFd(fd);
}

constexpr std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return (bytes + page_size - 1) & ~(page_size - 1);
}

/// Whether `bytes` at `address` are the child's own, writable.
inline bool is_writable(const DescriptorView& view, std::uint64_t address,
                        std::uint64_t bytes) noexcept {
  for (const descriptor::VmaRecord& vma : view.vmas()) {
    if (vma.start <= address && address < vma.end) {
      return (vma.prot & PROT_WRITE) != 0 && bytes <= vma.end - address;
    }
  }
  return false;
}

/// The code that runs the ops and, behind it, the frame that it returns from: all that is left of
/// the launcher in the child, one page as a rule. Named, so that a later capture can tell it.
class Trampoline {
 public:
  /// Below the addresses of programs, where no heap or stack wants to grow.
  static Result<Trampoline> make(Bytes xstate, Occupied& occupied) {
    const std::uint64_t bytes = whole_pages(code_room() + arch::frame_bytes(xstate));
    auto memory = OwnMemory::find(bytes, arch::task_size, occupied);
    if (!memory) return memory.error();
    Trampoline made;
    made.memory_ = std::move(*memory);
    return made;
  }
  /// Writes code and frame, and makes them executable.
  Result<void> write(const descriptor::ThreadRecord& thread, Bytes xstate,
                     std::uint64_t xfeatures) const noexcept {
    std::memcpy(memory_.data(), arch::blob().data(), arch::blob().size());
    arch::write_frame(thread, xstate, xfeatures, memory_.data() + code_room());
    const Range r = memory_.range();
    void* const start = memory_.data();
    if (::mprotect(start, r.bytes(), PROT_READ | PROT_EXEC) != 0) {
      return Error(Errc::system_call_failed, "mprotect", errno).in("write the restorer");
    }
    // Only a name: kernels without CONFIG_ANON_VMA_NAME do without.
    (void)::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, r.bytes(), "mitosis");
    return {};
  }
  [[nodiscard]] Range range() const noexcept { return memory_.range(); }
  [[nodiscard]] std::uint64_t code() const noexcept { return memory_.range().start; }
  [[nodiscard]] std::uint64_t frame() const noexcept { return code() + code_room(); }

 private:
  static std::uint64_t code_room() noexcept {
    return (arch::blob().size() + 63) & ~std::uint64_t{63};
  }
  OwnMemory memory_;
};

/// Blocks all signals of the calling thread, until destroyed.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    (void)::sigprocmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { (void)::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace detail

/// Turns the calling process into a child: its pid, its standard streams, its children and its
/// identity stay, all else becomes the parent's as of prepare. Does not return on success. On
/// failure the caller is as before; what it has sent to `agent` is undone by closing that.
/// After the point of no return a failure ends the process with exit_not_restored, and the agent
/// has been told. The caller must be the only thread.
inline Result<void> take_over(const local::ChannelView& agent, const ResumeRequest& request) {
  const local::Deadline deadline = local::within(request.patience);

  // ---- 1. Ask for the descriptor ------------------------------------------------------------
  if (Result<void> single = detail::check_single_thread(); !single) return single;
  auto offer = ask(agent, request, deadline);
  if (!offer) return offer.error();
  const auto parsed = DescriptorView::parse(offer->descriptor.bytes());
  if (!parsed) return parsed.error();
  const DescriptorView& view = *parsed;

  // ---- 2. Check that this machine can run it -------------------------------------------------
  auto own = read_address_space();
  if (!own) return own.error();
  utsname name = {};
  const Machine here = look_at_machine(*own, name);
  if (Result<void> fits = check_machine(view, here); !fits) return fits;
  const descriptor::ThreadRecord thread = view.threads()[0];
  const bool has_tid = detail::is_writable(view, thread.clear_child_tid, sizeof(std::uint32_t));
  if (thread.rseq_bytes != 0 && !detail::is_writable(view, thread.rseq, thread.rseq_bytes)) {
    return descriptor::refuse(descriptor::Tag::threads, 0, "rseq", "not in writable memory");
  }

  // ---- 3. Open its files, as the caller may ---------------------------------------------------
  const FdRoom room(view);
  auto files = open_files(view, room);
  if (!files) return files.error();
  auto mapped_files = MappedFiles::open(view);
  if (!mapped_files) return mapped_files.error();
  const UniqueFd exe(::open(view.string(view.mm().exe), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto socket = room.copy_high(agent.fd(), "the agent's socket");
  if (!socket) return socket.error();

  // ---- 4. Hand the agent a userfaultfd --------------------------------------------------------
  auto created = detail::new_userfaultfd(offer->userfaultfd_device.get());
  if (!created) return created.error();
  // The child keeps a copy: without any, the death of its pager would turn pages into zeros.
  auto uffd = room.copy_high(created->get(), "the userfaultfd");
  if (!uffd) return uffd.error();
  local::Adopt adopt;
  adopt.carried.assign(mapped_files->carried().begin(), mapped_files->carried().end());
  const int handed[] = {uffd->get()};
  if (Result<void> sent = agent.send(adopt, deadline, handed); !sent) return sent;

  // ---- 5. Lay memory out and make room for what survives --------------------------------------
  const bool cache_local = static_cast<bool>(offer->cache);
  auto mappings = layout(view, {cache_local, mapped_files->carried()});
  if (!mappings) return mappings.error();
  Occupied occupied(own->mapped, *mappings);
  const Bytes xstate = view.xstate(thread);
  auto trampoline = detail::Trampoline::make(xstate, occupied);
  if (!trampoline) return trampoline.error();
  const std::size_t max_ops = 256 + 2 * mappings->size() + 2 * files->placed.size();
  const std::uint64_t program_bytes =
      detail::whole_pages((std::uint64_t{32} << 10) + max_ops * sizeof(Op) +
                          mappings->size() * sizeof(uffdio_register) + view.auxv().size());
  auto scratch = OwnMemory::find(program_bytes + parking_bytes(*own), arch::task_size, occupied);
  if (!scratch) return scratch.error();
  const Keep keep = {trampoline->range(), scratch->range(), scratch->range().start + program_bytes};

  // ---- 6. Write the program, while the agent gets ready ---------------------------------------
  if (Result<void> written = trampoline->write(thread, xstate, view.machine().xfeatures);
      !written) {
    return written;
  }
  ProgramWriter program(scratch->bytes().sub(0, program_bytes), max_ops);
  write_vdso_parking(*own, keep, program);
  write_unmap(keep, program);
  write_vdso_to(special_ranges(view), keep, program);
  write_mappings(view, *mappings, *mapped_files, offer->cache.get(), program);
  write_watches(*mappings, keep, uffd->get(), program);
  write_mm(view, exe.get(), program);
  write_sigactions(view, program);
  write_thread(thread, program);
  write_files(*files, {socket->get(), uffd->get()}, program);
  write_umask(view, program);
  write_limits(view, program);
  write_hand_over(socket->get(), program);
  write_thread_memory(thread, has_tid, program);
  program.op(SYS_close, socket->get());
  auto finished = program.finish(trampoline->frame(), scratch->range().start,
                                 scratch->range().bytes(), socket->get());
  if (!finished) return finished.error();

  // ---- 7. Go ----------------------------------------------------------------------------------
  auto packet = agent.receive(deadline);
  if (!packet) return packet.error();
  if (auto adopted = local::decode_reply<local::Adopted>(packet->bytes); !adopted) {
    return adopted.error();
  }
  const detail::SignalsBlocked blocked;
  OwnRseq rseq;
  if (Result<void> done = rseq.unregister(); !done) return done;
  arch::enter_blob(trampoline->code(), *finished);
}

}  // namespace mitosis::restore
