// SPDX-License-Identifier: MIT
// CapturedProgram: a program stopped by ptrace, and a descriptor of it. World: user (tests).
// Restore is tested against this plain capture, so that an error of the real one is not mirrored.
#pragma once

#include <elf.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/restore/checks.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace mitosis::restore::test {

/// What restore_parent.c writes about itself.
struct Facts {
  std::uint64_t clear_child_tid, brk;
  std::uint64_t altstack_base, altstack_bytes, altstack_flags;
  descriptor::SigactionRecord actions[64];
};

/// What restore_threads_parent.c writes about each further thread.
struct ThreadFacts {
  std::uint64_t tid, clear_child_tid, altstack_base, altstack_bytes, altstack_flags;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class CapturedProgram {
 public:
  /// Runs the program until it stops itself. `cwd` empty: the caller's.
  explicit CapturedProgram(std::vector<std::string> argv, const std::string& cwd = {}) {
    pid_ = ::fork();
    if (pid_ == 0) {
      std::vector<char*> raw;
      for (std::string& a : argv) raw.push_back(a.data());
      raw.push_back(nullptr);
      if (!cwd.empty() && ::chdir(cwd.c_str()) != 0) ::_exit(90);
      for (int fd = 3; fd < 256; ++fd) ::close(fd);
      ::ptrace(PTRACE_TRACEME, 0, 0, 0);
      ::execv(raw[0], raw.data());
      ::_exit(91);
    }
    int status = 0;
    for (bool first = true;; first = false) {
      const pid_t tid = ::waitpid(-1, &status, __WALL);
      if (tid == pid_ && (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP)) break;
      if (!WIFSTOPPED(status)) continue;
      if (first) ::ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
      const int signal = WSTOPSIG(status);  // a new thread begins with a SIGSTOP
      ::ptrace(PTRACE_CONT, tid, 0, signal == SIGTRAP || signal == SIGSTOP ? 0 : signal);
    }
    stopped_ = WIFSTOPPED(status);
    if (stopped_) stop_threads();
    memory_ =
        UniqueFd(::open(("/proc/" + std::to_string(pid_) + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
  }
  CapturedProgram(const CapturedProgram&) = delete;
  CapturedProgram& operator=(const CapturedProgram&) = delete;
  ~CapturedProgram() {
    ::kill(pid_, SIGKILL);
    for (pid_t gone = 0; gone >= 0 && gone != pid_;) {
      gone = ::waitpid(-1, nullptr, __WALL);  // its threads are told of one by one, it comes last
    }
  }
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool read(std::uint64_t address, MutableBytes into) const noexcept {
    return ::pread(memory_.get(), into.data(), into.size(), static_cast<off_t>(address)) ==
           static_cast<ssize_t>(into.size());
  }

  /// `facts` of the program itself, or none: then what /proc tells must do.
  /// `threads`: of the further ones.
  [[nodiscard]] DescriptorBuilder describe(const Facts* facts,
                                           const std::vector<ThreadFacts>& threads = {}) const {
    DescriptorBuilder b(arch::this_arch, HandlerId{7}, Generation{1});
    b.owners.push_back({});
    add_mm(b, facts);
    add_vmas(b);
    add_thread(b, pid_, facts, nullptr);
    for (const ThreadFacts& thread : threads) {
      add_thread(b, static_cast<pid_t>(thread.tid), nullptr, &thread);
    }
    add_files(b);
    b.machine.xfeatures = arch::xfeatures();
    utsname name = {};
    const auto own = read_address_space();
    b.machine.vdso_hash = look_at_machine(*own, name).vdso_hash;
    b.machine.kernel_release = b.string(name.release);
    b.machine.cpu_features = b.string("");
    if (facts != nullptr) b.sigactions.assign(facts->actions, facts->actions + 64);
    for (int i = 0; i < RLIM_NLIMITS; ++i) {
      rlimit limit = {};
      ::prlimit(pid_, static_cast<__rlimit_resource>(i), nullptr, &limit);
      b.limits.push_back({limit.rlim_cur, limit.rlim_max});
    }
    return b;
  }

 private:
  void stop_threads() const {
    for (const auto& task : std::filesystem::directory_iterator(proc("task"))) {
      const auto tid = static_cast<pid_t>(std::stol(task.path().filename().string()));
      if (tid == pid_) continue;
      ::syscall(SYS_tgkill, pid_, tid, SIGSTOP);
      for (int status = 0;;) {
        if (::waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) break;
        if (WSTOPSIG(status) == SIGSTOP) break;
        ::ptrace(PTRACE_CONT, tid, 0, 0);
      }
    }
  }
  /// A system call that the stop has interrupted is made again.
  static void restart(user_regs_struct& regs) noexcept {
    const long result = static_cast<long>(regs.rax);
    if (static_cast<long>(regs.orig_rax) < 0) return;
    for (const long interrupted : {-512L, -513L, -514L, -516L}) {
      if (result != interrupted) continue;
      regs.rax = regs.orig_rax;
      regs.rip -= 2;
      return;
    }
  }
  [[nodiscard]] std::string proc(const char* name) const {
    return "/proc/" + std::to_string(pid_) + "/" + name;
  }
  void add_mm(DescriptorBuilder& b, const Facts* facts) const {
    std::string stat = slurp(proc("stat"));
    std::istringstream in(stat.substr(stat.rfind(')') + 2));
    std::vector<std::string> field(3);
    for (std::string f; in >> f;) field.push_back(f);
    const auto number = [&](std::size_t i) { return std::stoull(field[i]); };
    b.mm.start_code = number(26), b.mm.end_code = number(27), b.mm.start_stack = number(28);
    b.mm.start_data = number(45), b.mm.end_data = number(46), b.mm.start_brk = number(47);
    b.mm.arg_start = number(48), b.mm.arg_end = number(49);
    b.mm.env_start = number(50), b.mm.env_end = number(51);
    b.mm.brk = facts != nullptr ? facts->brk : b.mm.start_brk;
    b.mm.exe = b.string(std::filesystem::read_symlink(proc("exe")).string());
    b.mm.cwd = b.string(std::filesystem::read_symlink(proc("cwd")).string());
    const std::string status = slurp(proc("status"));
    b.mm.umask = static_cast<std::uint32_t>(
        std::stoul(status.substr(status.find("Umask:") + 7, 4), nullptr, 8));
    const std::string auxv = slurp(proc("auxv"));
    b.auxv.assign(auxv.begin(), auxv.end());
  }

  void add_vmas(DescriptorBuilder& b) const {
    std::istringstream in(slurp(proc("maps")));
    const UniqueFd pagemap(::open(proc("pagemap").c_str(), O_RDONLY | O_CLOEXEC));
    for (std::string line; std::getline(in, line);) {
      descriptor::VmaRecord v = {};
      char perms[8] = "", path[4096] = "";
      unsigned long long start, end, offset, inode;
      std::sscanf(line.c_str(), "%llx-%llx %7s %llx %*s %llu %4095[^\n]", &start, &end, perms,
                  &offset, &inode, path);
      if (start >= user_address_end) continue;  // [vsyscall]
      v.start = start, v.end = end, v.file_offset = offset, v.file_inode = inode;
      v.prot = (perms[0] == 'r' ? 1u : 0) | (perms[1] == 'w' ? 2u : 0) | (perms[2] == 'x' ? 4u : 0);
      v.path = descriptor::no_string;
      using descriptor::VmaKind;
      VmaKind kind = VmaKind::anonymous;
      if (inode != 0) {
        kind = perms[3] == 's' ? VmaKind::shared_file : VmaKind::private_file;
        v.path = b.string(path);
        struct stat is = {};
        ::stat(path, &is);
        v.file_size = static_cast<std::uint64_t>(is.st_size);
        v.file_mtime_ns = static_cast<std::uint64_t>(is.st_mtim.tv_sec) * 1'000'000'000u +
                          static_cast<std::uint64_t>(is.st_mtim.tv_nsec);
      } else {
        const std::string name = path;
        if (name == "[stack]") kind = VmaKind::stack;
        if (name == "[vdso]") kind = VmaKind::vdso;
        if (name == "[vvar]") kind = VmaKind::vvar;
        if (name == "[vvar_vclock]") kind = VmaKind::vvar_vclock;
        if (name == "[heap]") b.mm.brk = std::max<std::uint64_t>(b.mm.brk, end);
      }
      v.kind = static_cast<std::uint32_t>(kind);
      if (kind == VmaKind::anonymous || kind == VmaKind::stack || kind == VmaKind::private_file) {
        add_runs(b, v, pagemap.get());
      }
      b.vmas.push_back(v);
    }
  }
  static void add_runs(DescriptorBuilder& b, descriptor::VmaRecord& v, int pagemap) {
    const std::uint64_t first = v.start >> page_shift;
    std::vector<std::uint64_t> entries((v.end - v.start) >> page_shift);
    const ssize_t got =
        ::pread(pagemap, entries.data(), entries.size() * 8, static_cast<off_t>(first * 8));
    entries.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)) / 8);
    const bool is_file = v.kind == static_cast<std::uint32_t>(descriptor::VmaKind::private_file);
    bool join = false;
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const bool here = (entries[i] >> 62) != 0;
      const bool of_file = (entries[i] >> 61 & 1) != 0;
      if (!here || of_file) continue;
      if (!is_file) b.add_run({PageNumber{first + i}, 1}, PageNumber{first + i}, 0, join);
      join = true;
      ++count;
    }
    if (is_file && count != 0) {
      v.flags |= descriptor::vma_dirty;
      const auto run = carried_run(v);
      b.add_run({PageNumber{run.page}, run.count}, PageNumber{run.source}, 0, false);
    }
  }

  void add_thread(DescriptorBuilder& b, pid_t tid, const Facts* facts,
                  const ThreadFacts* further) const {
    descriptor::ThreadRecord t = {};
    user_regs_struct regs = {};
    iovec io = {&regs, sizeof regs};
    ::ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io);
    restart(regs);
    std::memcpy(t.registers, &regs, sizeof regs);
    std::vector<std::uint8_t> xstate(16384);
    io = {xstate.data(), xstate.size()};
    ::ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &io);
    // Without what only a thread with a permission may have (AMX tiles): see XstateLayout.
    xstate.resize(arch::XstateLayout().used(Bytes(xstate.data(), io.iov_len)));
    ::ptrace(static_cast<__ptrace_request>(PTRACE_GETSIGMASK), tid, 8, &t.signal_mask);
    struct {
      std::uint64_t address;
      std::uint32_t bytes, signature, flags, pad;
    } rseq = {};
    ::ptrace(static_cast<__ptrace_request>(0x420f), tid, sizeof rseq, &rseq);
    t.rseq = rseq.address, t.rseq_bytes = rseq.bytes, t.rseq_signature = rseq.signature;
    ::syscall(SYS_get_robust_list, tid, &t.robust_list, &t.robust_list_bytes);
    t.altstack_flags = 2;  // SS_DISABLE
    if (facts != nullptr) {
      t.clear_child_tid = facts->clear_child_tid;
      t.altstack_base = facts->altstack_base;
      t.altstack_bytes = facts->altstack_bytes;
      t.altstack_flags = static_cast<std::uint32_t>(facts->altstack_flags);
    }
    if (further != nullptr) {
      t.clear_child_tid = further->clear_child_tid;
      t.altstack_base = further->altstack_base;
      t.altstack_bytes = further->altstack_bytes;
      t.altstack_flags = static_cast<std::uint32_t>(further->altstack_flags);
    }
    t.tid = static_cast<std::uint32_t>(tid);
    slurp(proc("task/") + std::to_string(tid) + "/comm").copy(t.name, 15);
    if (char* end = std::strchr(t.name, '\n'); end != nullptr) *end = '\0';
    b.add_thread(t, xstate);
  }

  void add_files(DescriptorBuilder& b) const {
    for (int fd = 0; fd < 256; ++fd) {
      const std::string link = proc("fd/") + std::to_string(fd);
      struct stat is = {};
      if (::stat(link.c_str(), &is) != 0) continue;
      descriptor::FileRecord f = {};
      f.fd = fd;
      f.same_as = -1;
      f.path = b.string(std::filesystem::read_symlink(link).string());
      std::istringstream info(slurp(proc("fdinfo/") + std::to_string(fd)));
      for (std::string key; info >> key;) {
        if (key == "pos:") info >> f.offset;
        if (key == "flags:") info >> std::oct >> f.flags >> std::dec;
      }
      using descriptor::FileKind;
      const FileKind kind = fd <= 2               ? FileKind::standard_stream
                            : S_ISREG(is.st_mode) ? FileKind::regular
                            : S_ISDIR(is.st_mode) ? FileKind::directory
                                                  : FileKind::character_device;
      f.kind = static_cast<std::uint32_t>(kind);
      for (const descriptor::FileRecord& e : b.files) {
        if (fd > 2 && ::syscall(SYS_kcmp, pid_, pid_, 0, e.fd, fd) == 0) f.same_as = e.fd;
      }
      b.files.push_back(f);
    }
  }

  pid_t pid_ = -1;
  bool stopped_ = false;
  UniqueFd memory_;
};

}  // namespace mitosis::restore::test
