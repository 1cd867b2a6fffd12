// SPDX-License-Identifier: MIT
// capture_shadow: from a parked shadow to the bytes of its descriptor, the story. World: user.
// The parent runs on meanwhile; nothing here reads a page's content.
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/files/spare_content.hpp>
#include <mitosis/fork/user/capture/held_locks.hpp>
#include <mitosis/fork/user/capture/machine.hpp>
#include <mitosis/fork/user/capture/mapped_file.hpp>
#include <mitosis/fork/user/capture/page_runs.hpp>
#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/capture/proc_stat.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/local/resume_signal.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>
#include <mitosis/mem/shadow_source.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::capture {

struct CaptureRequest {
  pid_t shadow = 0;
  HandlerId handler{};
  Generation generation{};
  descriptor::OwnerRecord self = {};  ///< this machine: becomes owner 0
  Ancestry ancestry;                  ///< where the parent is itself a child
  PagemapMethod method = PagemapMethod::automatic;
  Span<const descriptor::MemberRecord> tree;  ///< of a tree's root: all members
  Span<const ThreadState> threads;  ///< [0] is the leader; none: what the shadow said of its own
  std::uint64_t hidden_start = 0, hidden_end = 0;  ///< memory that the program does not have
  bool by_pid = false;  ///< it did not call prepare: its children are told, where it wants that
  Span<const MarkedRange> unmarked;  ///< the shadow has lost these marks for its clone, ascending
};

struct Captured {
  std::vector<std::uint8_t> descriptor;
  std::uint64_t pages = 0;  ///< in all runs
  std::uint64_t runs = 0;
};

namespace detail {

/// The shadow's own words, checked for their shape alone: they are about its own program.
inline Result<void> check_facts(const local::ShadowFacts& facts) {
  if (facts.version == local::ShadowFacts::current_version && facts.bytes == sizeof(facts) &&
      facts.thread.xstate_bytes <= sizeof(facts.xstate)) {
    return {};
  }
  return Error(Errc::protocol_mismatch, "the shadow's library is of another version");
}

/// Memory that a fork leaves out would be missing in the children.
inline Result<void> check_all_copied(int process, const ParentFacts& parent) {
  const Result<std::vector<char>> status = read_at(process, "status", 1u << 20);
  if (!status) return status.error();
  const std::uint64_t copied = mapped_kib(view(*status));
  if (copied >= parent.memory_kib) return {};
  const std::string about =
      fmt::format("{} KiB of its memory are marked MADV_DONTFORK", parent.memory_kib - copied);
  return Error(Errc::unsupported_process, about.c_str()).in("check memory");
}

/// The pages of all mappings that have any of their own.
inline Result<void> find_pages(Pagemap& pagemap, const std::vector<Mapping>& mappings,
                               std::vector<PresentRun>& present) {
  using descriptor::VmaKind;
  for (const Mapping& m : mappings) {
    const VmaKind kind = kind_of(m);
    if (kind != VmaKind::anonymous && kind != VmaKind::stack && kind != VmaKind::private_file) {
      continue;
    }
    if (Result<void> ok = pagemap.scan(m.start, m.end, present); !ok) {
      return ok.error().at_address(m.start);
    }
  }
  return {};
}

inline void add_limits(pid_t pid, DescriptorBuilder& builder) {
  for (int i = 0; i < RLIM_NLIMITS; ++i) {
    rlimit64 limit = {};
    if (::prlimit64(pid, static_cast<__rlimit_resource>(i), nullptr, &limit) != 0) break;
    builder.limits.push_back({limit.rlim_cur, limit.rlim_max});
  }
}

inline void add_files(const std::vector<OpenFile>& files, DescriptorBuilder& builder) {
  for (const OpenFile& file : files) {
    const std::vector<std::uint8_t> payload =
        file.data.empty() && file.same_as < 0 ? regular_payload(file) : file.data;
    const std::uint32_t data = payload.empty() ? 0 : builder.file_payload(payload);
    builder.files.push_back({file.fd, static_cast<std::uint32_t>(file.kind), file.flags,
                             builder.string(file.path), file.offset, file.same_as, data});
  }
}

/// Timers, pending signals, scheduling: partly as the parent had them, partly as the shadow has.
inline Result<void> add_attributes(const CaptureRequest& request, int process,
                                   const ParentFacts& facts, const local::ProcessFacts& seen,
                                   DescriptorBuilder& builder) {
  if (Result<void> ok = add_process_attributes(process, seen, builder); !ok) return ok;
  if (Result<void> ok = add_timers(facts.timers, seen, builder); !ok) return ok;
  builder.pending_signals =
      pending_signals(seen.pending_signals, facts.thread_signals, facts.timers);
  descriptor::SchedulingRecord scheduling = facts.scheduling;
  scheduling.timer_slack_ns = seen.timer_slack_ns;
  scheduling.death_signal = seen.death_signal;
  if (Result<void> ok = read_placement(request.shadow, scheduling); !ok) return ok;
  builder.scheduling.push_back(scheduling);
  for (std::size_t i = 1; i < request.threads.size(); ++i) {
    descriptor::SchedulingRecord other = request.threads[i].scheduling;
    other.timer_slack_ns = seen.timer_slack_ns;  // a thread's own is not asked for
    other.death_signal = seen.death_signal;
    builder.scheduling.push_back(other);
  }
  return {};
}

inline void add_process(const local::ShadowFacts& seen, Span<const ThreadState> threads,
                        DescriptorBuilder& builder) {
  for (const descriptor::SigactionRecord& action : seen.sigactions) {
    builder.sigactions.push_back(action);
  }
  for (const ThreadState& thread : threads) {
    builder.add_thread(thread.record, Bytes(thread.xstate));
  }
  for (std::size_t i = 0; i < threads.size(); ++i) {
    for (const SeccompFilter& filter : threads[i].filters) {
      builder.filters.push_back({static_cast<std::uint32_t>(i), filter.flags,
                                 static_cast<std::uint32_t>(builder.filter_code.size()),
                                 static_cast<std::uint32_t>(filter.code.size())});
      builder.filter_code.insert(builder.filter_code.end(), filter.code.begin(), filter.code.end());
    }
  }
  if (threads.empty())
    builder.add_thread(seen.thread, Bytes(seen.xstate, seen.thread.xstate_bytes));
}

/// Takes a range out of the mappings. One that the kernel has merged with it keeps its rest.
inline void hide(std::vector<Mapping>& mappings, std::uint64_t start, std::uint64_t end) {
  std::vector<Mapping> rest;
  for (const Mapping& m : mappings) {
    if (m.end <= start || m.start >= end) {
      rest.push_back(m);
      continue;
    }
    Mapping below = m, above = m;
    below.end = start;
    above.start = end;
    if (below.start < below.end) rest.push_back(below);
    if (above.start < above.end) rest.push_back(above);
  }
  mappings.swap(rest);
}

/// The signal that tells the program in a child that it is one, where its memory says that it wants
/// to hear, and it has a handler for it.
inline void add_resume_signal(const std::vector<Mapping>& mappings, const local::ShadowFacts& seen,
                              DescriptorBuilder& builder) {
  for (const Mapping& m : mappings) {
    const std::uint32_t signal = local::resume_signal_of(m.path);
    if (signal == 0 || seen.sigactions[signal - 1].handler <= 1) continue;  // SIG_DFL, SIG_IGN
    descriptor::PendingSignalRecord record = {};
    record.thread = 0;
    record.signal = signal;
    const auto put = [&record](std::size_t at, std::int32_t value) {
      std::memcpy(record.info + at, &value, sizeof value);
    };
    put(0, static_cast<std::int32_t>(signal));
    put(local::siginfo_errno_at, local::resume_signal_errno);
    put(local::siginfo_code_at, SI_QUEUE);
    builder.pending_signals.push_back(record);
    return;
  }
}

/// Of a process that did not choose the moment. One that cannot be read is said to have none: then
/// its pages cannot be had either.
inline void add_held_locks(const CaptureRequest& request, int process,
                           const std::vector<Mapping>& mappings,
                           const std::vector<PresentRun>& present, DescriptorBuilder& builder) {
  Result<UniqueFd> memory = open_at(process, "mem", 0);
  if (!memory) return;
  ShadowSource source(std::move(memory).value());
  std::vector<std::uint32_t> numbers;
  for (const ThreadState& thread : request.threads) numbers.push_back(thread.record.tid);
  HeldLocks locks(source, numbers);
  for (const Mapping& m : mappings) locks.look(m, present);
  builder.held_locks = locks.take();
}

/// One mapping: its record and its runs.
inline Result<void> add_mapping(const Mapping& m, const SharedMemory& shared, MappedFiles& files,
                                RunWriter& runs, DescriptorBuilder& builder) {
  using descriptor::VmaKind;
  const VmaKind kind = kind_of(m);
  const PageRange pages = {page_of(m.start), (m.end - m.start) >> page_shift};
  descriptor::VmaRecord record = {};
  record.start = m.start;
  record.end = m.end;
  record.prot = m.prot;
  record.kind = static_cast<std::uint32_t>(kind);
  record.path = descriptor::no_string;
  record.flags = m.marks;
  // What is wiped on a fork is zero, whatever an ancestor has there.
  const bool wiped = (m.marks & descriptor::vma_wipe_on_fork) != 0;
  if ((kind == VmaKind::anonymous || kind == VmaKind::stack) && !wiped) runs.add_private(pages);
  if (kind == VmaKind::shared_object) {
    const auto object = shared.find(m);
    if (!object) return refuse_shared(m, "is new since it was looked at");
    record.file_inode = *object;
    record.file_offset = m.offset;
  }
  if (kind == VmaKind::private_file || kind == VmaKind::shared_file) {
    const std::optional<MappedFile> file = files.find(m);
    if (!file && kind == VmaKind::shared_file) {
      const std::string about = fmt::format("the shared mapping of {} cannot be reopened", m.path);
      return Error(Errc::unsupported_process, about.c_str()).in("check memory");
    }
    record.path = builder.string(unescape(m.path));
    record.file_offset = m.offset;
    record.file_inode = m.inode;
    // A file that is gone: no time and as long as the mapping, so that nothing is identical to it.
    record.file_size = file ? file->size : m.offset + (m.end - m.start);
    record.file_mtime_ns = file ? file->mtime_ns : 0;
    if (kind == VmaKind::private_file && runs.is_dirty(pages)) {
      record.flags |= descriptor::vma_dirty;
      const std::uint64_t behind =
          record.file_size > m.offset ? record.file_size - m.offset : 0;  // bytes up to the end
      const std::uint64_t in_file = (behind + page_size - 1) >> page_shift;
      runs.add_whole(pages, {pages.first, std::min(pages.count, in_file)});
    }
  }
  builder.vmas.push_back(record);
  return {};
}

}  // namespace detail

/// Captures a shadow that has sent `seen` and only waits now; `facts` are of its parent, from the
/// check. The result parses as a DescriptorView.
inline Result<Captured> capture_shadow(const CaptureRequest& request, const ParentFacts& facts,
                                       const local::ShadowFacts& seen) {
  DescriptorBuilder builder(arch::this_arch, request.handler, request.generation);
  Result<UniqueFd> process = open_process(request.shadow);
  if (!process) return process.error();

  // 1. What the shadow said of itself, and what the parent was like.
  if (Result<void> ok = detail::check_facts(seen); !ok) return ok.error();
  describe_machine(builder);
  detail::add_process(seen, request.threads, builder);
  detail::add_files(facts.files, builder);

  // 2. The process as a whole.
  Result<std::vector<char>> stat = read_at(process->get(), "stat", 1u << 16);
  if (!stat) return stat.error();
  if (Result<void> ok = parse_stat(view(*stat), builder.mm); !ok) return ok.error();
  Result<std::string> exe = link_at(process->get(), "exe");
  if (!exe) return exe.error();
  builder.mm.brk = seen.brk;
  builder.mm.exe = builder.string(*exe);
  builder.mm.cwd = builder.string(facts.cwd);
  builder.mm.umask = facts.umask;
  detail::add_limits(request.shadow, builder);
  if (Result<void> ok =
          detail::add_attributes(request, process->get(), facts, seen.process, builder);
      !ok) {
    return ok.error();
  }
  Result<std::vector<char>> auxv = read_at(process->get(), "auxv", 1u << 16);
  if (!auxv) return auxv.error();
  builder.auxv.assign(auxv->begin(), auxv->end());

  // 3. Its mappings; all of the parent's must have come along.
  const Result<std::vector<char>> text = read_at(process->get(), "maps", max_maps_text);
  if (!text) return text.error();
  Result<std::vector<Mapping>> mappings = parse_maps(view(*text));
  if (!mappings) return mappings.error();
  detail::hide(*mappings, request.hidden_start, request.hidden_end);
  if (mappings->empty()) return Error(Errc::unsupported_process, "it has no memory any more");
  if (Result<void> ok = check_mappings(*mappings); !ok) return ok.error();
  if (Result<void> ok = detail::check_all_copied(process->get(), facts); !ok) return ok.error();
  const auto marked = read_marks(process->get());
  if (!marked) return marked.error();
  add_marks(*mappings, *marked);
  add_marks(*mappings, facts.locked);
  add_marks(*mappings, {request.unmarked.begin(), request.unmarked.end()});
  if (request.by_pid) detail::add_resume_signal(*mappings, seen, builder);

  // 4. The pages it has.
  Result<Pagemap> pagemap = Pagemap::open(process->get(), request.method);
  if (!pagemap) return pagemap.error();
  std::vector<PresentRun> present;
  if (Result<void> ok = detail::find_pages(*pagemap, *mappings, present); !ok) return ok.error();

  // 5. Records and runs of each mapping, and who holds the pages.
  MappedFiles files(process->get());
  RunWriter runs(builder, present, request.ancestry.runs);
  for (const Mapping& m : *mappings) {
    if (Result<void> ok = detail::add_mapping(m, facts.shared, files, runs, builder); !ok) {
      return ok.error();
    }
  }
  if (!request.threads.empty())
    detail::add_held_locks(request, process->get(), *mappings, present, builder);
  facts.shared.describe(builder);
  builder.tree.assign(request.tree.begin(), request.tree.end());
  builder.owners.push_back(request.self);
  for (const descriptor::OwnerRecord& owner : request.ancestry.owners) {
    builder.owners.push_back(owner);
  }
  Captured captured = {builder.finish(), runs.pages(), builder.runs.size()};
  if (captured.descriptor.size() > descriptor::max_bytes) {
    return Error(Errc::limit_exceeded, "the descriptor is longer than 64 MiB");
  }
  return captured;
}

}  // namespace mitosis::capture
