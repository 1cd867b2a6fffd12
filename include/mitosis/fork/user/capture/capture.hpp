// SPDX-License-Identifier: MIT
// capture_shadow: from a parked shadow to the bytes of its descriptor, the story. World: user.
// The parent runs on meanwhile; nothing here reads a page's content.
#pragma once

#include <mitosis/fork/user/capture/add_memory.hpp>
#include <mitosis/fork/user/capture/add_process.hpp>
#include <mitosis/fork/user/capture/capture_request.hpp>
#include <mitosis/fork/user/capture/machine.hpp>
#include <mitosis/fork/user/capture/proc_stat.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::capture {

struct Captured {
  std::vector<std::uint8_t> descriptor;
  std::uint64_t pages = 0;  ///< in all runs
  std::uint64_t runs = 0;
};

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
