// SPDX-License-Identifier: MIT
// What a descriptor says of the process as a whole: threads, files, attributes. World: user.
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <mitosis/fork/user/capture/capture_request.hpp>
#include <mitosis/fork/user/capture/files/spare_content.hpp>
#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/local/resume_signal.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::capture::detail {

/// The shadow's own words, checked for their shape alone: they are about its own program.
inline Result<void> check_facts(const local::ShadowFacts& facts) {
  if (facts.version == local::ShadowFacts::current_version && facts.bytes == sizeof(facts) &&
      facts.thread.xstate_bytes <= sizeof(facts.xstate)) {
    return {};
  }
  return Error(Errc::protocol_mismatch, "the shadow's library is of another version");
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

}  // namespace mitosis::capture::detail
