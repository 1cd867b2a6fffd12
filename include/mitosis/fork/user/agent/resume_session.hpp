// SPDX-License-Identifier: MIT
// Session: resume, as the agent does it. World: user. Included by session.hpp only.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/bring_shared.hpp>
#include <mitosis/fork/user/agent/cache_layout.hpp>
#include <mitosis/fork/user/agent/policy_choice.hpp>
#include <mitosis/fork/user/agent/proc_namespace.hpp>
#include <mitosis/fork/user/agent/process_owner.hpp>
#include <mitosis/fork/user/agent/served_memory.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/parse.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

namespace mitosis::agent {

namespace detail {

/// A copied image has no pages of long files: with it those must be here.
inline Result<void> check_carried(const Image& image, const local::Adopt& adopt) noexcept {
  const auto origin = parse_policy(image.policy().c_str(), image.policy().size());
  if (!origin || origin->cow) return {};
  const auto vmas = image.view().vmas();
  for (const std::uint32_t at : adopt.carried) {
    if (at >= vmas.size()) return Error(Errc::bad_message, "a carried file").in("resume");
    const descriptor::VmaRecord vma = vmas[at];
    if (serves_file(vma, true)) continue;
    Error missing(Errc::file_missing, image.view().string(vma.path));
    missing.subject.append(" (a copied parent's mappings over 64 MiB are not carried)");
    return missing.of_handler(image.name().handler).in("map files");
  }
  return {};
}

/// Undoes what a failed resume has taken, in the reverse order.
class SlotGuard {
 public:
  SlotGuard(StateTable& table, ChildSlot* slot) noexcept : table_(table), slot_(slot) {}
  ~SlotGuard() {
    if (slot_ == nullptr) return;
    for (const int fd : {slot_->uffd, slot_->pidfd, slot_->descriptor_fd, slot_->cache_fd,
                         slot_->cache_index_fd}) {
      if (fd >= 0) ::close(fd);
    }
    table_.release(*slot_);
  }
  SlotGuard(const SlotGuard&) = delete;
  SlotGuard& operator=(const SlotGuard&) = delete;
  void keep() noexcept { slot_ = nullptr; }

 private:
  StateTable& table_;
  ChildSlot* slot_;
};

}  // namespace detail

/// The descriptor of a handler, from this machine or another, as its key or its owner opens it.
inline Result<std::shared_ptr<const Image>> Session::fetch(MachineId machine, HandlerId handler,
                                                           const AuthKey& key, std::uint32_t uid) {
  const auto deadline = Clock::now() + step_deadline;
  if (machine != MachineId::none && machine != worker_.options.machine) {
    auto lease = worker_.peers->query(machine, handler, key, deadline);
    if (!lease) return lease.error();
    auto image = worker_.images.get({machine, handler, lease->generation}, std::move(lease->bytes),
                                    std::move(lease->policy));
    if (image) worker_.peers->learn_addresses((*image)->view());
    return image;
  }
  const bool has_key = !(key == AuthKey{});
  auto parent = has_key ? worker_.parents.get(handler, &key, deadline)
                        : worker_.parents.get_as(handler, uid, deadline);
  if (!parent) return parent.error();
  return worker_.images.get({worker_.options.machine, handler, (*parent)->generation},
                            *(*parent)->descriptor, (*parent)->policy);
}

/// The memory that the parent shared, for one child.
inline Result<std::vector<UniqueFd>> Session::bring_shared_of(const Image& image) {
  const descriptor::OwnerRecord owner = image.view().owners()[0];
  const MachineId machine{owner.machine};
  const TargetName target{owner.target_number, owner.target_key};
  auto brought = bring_shared(image.view(), [&](std::uint64_t address, MutableBytes into) {
    if (machine == worker_.options.machine) return worker_.targets.read(target, address, into);
    ReadRequest request;
    request.peer = machine;
    request.target = target;
    request.remote_address = address;
    request.bytes = static_cast<std::uint32_t>(into.size());
    request.into.data = into.data();
    request.deadline = tcp::deadline_in(Peers::call_ms);
    return worker_.peers->read(request);
  });
  if (!brought) return brought.error().at_machine(machine).of_handler(image.name().handler);
  // They are the child's: a descriptor of one is given its permissions.
  ucred child = {};
  socklen_t bytes = sizeof child;
  if (::getsockopt(channel_.fd(), SOL_SOCKET, SO_PEERCRED, &child, &bytes) == 0) {
    for (const UniqueFd& object : *brought) (void)::fchown(object.get(), child.uid, child.gid);
  }
  return brought;
}

/// From the request to the child's first instruction.
inline Result<void> Session::resume(const local::Packet& packet) {
  // 1. The descriptor.
  auto message = local::decode_packet<local::Resume>(Bytes(packet.bytes));
  if (!message) return message.error();
  auto fetched = ticket_ != nullptr
                     ? Result<std::shared_ptr<const Image>>(ticket_)
                     : fetch(message->machine, message->handler, message->key, packet.sender.uid);
  if (!fetched) return Error(fetched.error()).of_handler(message->handler);
  if (!(*fetched)->view().tree().empty()) return resume_root(*message, *fetched);
  return resume_image(*message, *fetched);
}

/// Of a process that is alone, or of a tree's member.
inline Result<void> Session::resume_image(const local::Resume& message,
                                          const std::shared_ptr<const Image>& image) {
  // 2. The policy, which must be compiled, and the cache that its children share.
  const std::string& text = message.policy.empty() ? image->policy() : message.policy;
  auto policy = parse_policy(text.c_str(), text.size());
  if (!policy) return Error(policy.error()).of_handler(message.handler).in("resume");
  if (!FullMatrix::contains(*policy)) {
    return with_policy(*policy, [](auto) {}).error().of_handler(message.handler).in("resume");
  }
  if (auto r = detail::check_transport(*policy, worker_.rdma.get()); !r) {
    return r.error().of_handler(message.handler);
  }
  StepTimer timer(worker_.profile, policy->profile);
  std::shared_ptr<LocalCache> cache;
  UniqueFd cache_view;
  if (policy->cache == CacheKind::local) {
    auto acquired = cache_for(worker_.caches, *image);
    if (!acquired) return acquired.error().of_handler(message.handler).in("open the cache");
    cache = *acquired;
    auto view = cache->open_read_only();
    if (!view) return view.error();
    cache_view = std::move(view).value();
  }

  // 3. Its shared memory, made anew (a tree's root has its members'); then all is offered.
  const bool is_member = tree_ != nullptr && image->view().tree().empty();
  auto shared =
      is_member ? Result<std::vector<UniqueFd>>(std::vector<UniqueFd>()) : bring_shared_of(*image);
  if (!shared) return shared.error();
  const std::uint64_t id = worker_.table.next_id.fetch_add(1);
  const local::ResumeOffer offer{image->name().generation,
                                 image->bytes(),
                                 cache != nullptr,
                                 static_cast<std::uint32_t>(shared->size()),
                                 format(*policy).c_str(),
                                 std::filesystem::absolute(worker_.options.socket),
                                 image->name().machine,
                                 worker_.options.machine,
                                 id};
  std::vector<int> fds = {image->memfd(), worker_.device};
  if (cache != nullptr) fds.push_back(cache_view.get());
  for (const UniqueFd& object : *shared) fds.push_back(object.get());
  const bool passed = local::pass_pidfds(channel_.fd());
  if (auto r = reply(offer, fds); !r) return r;
  shared->clear();

  timer.done("resume.offer");

  // 4. The launcher hands its userfaultfd over, a root's first its members' connections.
  auto answer = channel_.receive(local::within(step_deadline));
  if (!answer) return answer.error().in("wait for the launcher");
  if (const auto type = local::packet_type(Bytes(answer->bytes));
      type && *type == local::LocalType::members) {
    if (auto r = begin_members(*answer); !r) return r;
    answer = channel_.receive(local::within(step_deadline));
    if (!answer) return answer.error().in("wait for the launcher");
  }
  auto adopt = local::decode_reply<local::Adopt>(Bytes(answer->bytes));
  if (!adopt) return adopt.error();
  if (answer->fds.size() != 1) return Error(Errc::bad_message, "a userfaultfd is missing");
  auto launcher = sender_of(*answer, channel_.fd(), passed);
  if (!launcher) return launcher.error();
  if (auto r = detail::check_carried(*image, *adopt); !r) return r;
  auto poison = enable(answer->fds[0].get());
  if (!poison) return poison.error();
  auto mappings =
      restore::layout(image->view(), {cache != nullptr, Span<const std::uint32_t>(adopt->carried)});
  if (!mappings) return mappings.error();

  timer.done("resume.launcher");

  // 5. Its state, where it survives this worker.
  auto taken = worker_.table.take_child(answer->sender.uid);
  if (!taken) return taken.error().in("resume");
  ChildSlot* const slot = *taken;
  slot->uffd = slot->pidfd = slot->descriptor_fd = slot->cache_fd = slot->cache_index_fd = -1;
  detail::SlotGuard guard(worker_.table, slot);
  slot->uffd = answer->fds[0].release();
  slot->pid = static_cast<std::uint32_t>(answer->sender.pid);
  slot->pidfd = launcher->release();
  slot->descriptor_fd = ::fcntl(image->memfd(), F_DUPFD_CLOEXEC, 0);
  slot->cache_fd = cache == nullptr ? -1 : ::fcntl(cache->pages_fd(), F_DUPFD_CLOEXEC, 0);
  slot->cache_index_fd = cache == nullptr ? -1 : ::fcntl(cache->index_fd(), F_DUPFD_CLOEXEC, 0);
  slot->uid = answer->sender.uid;
  slot->poison = *poison ? 1 : 0;
  slot->id = id;
  slot->forked_from = 0;
  slot->pid_namespace = pid_namespace_of(std::to_string(answer->sender.pid));
  slot->doomed = 0;
  slot->started_ns = static_cast<std::uint64_t>(tcp::monotonic_now());
  slot->machine = image->name().machine;
  slot->handler = image->name().handler;
  slot->listed_as = message.handler;  // of a member its launcher names the root
  slot->generation = image->name().generation;
  std::snprintf(slot->policy, sizeof slot->policy, "%s", format(*policy).c_str());
  std::fill(std::begin(slot->carried), std::end(slot->carried), 0);
  for (const std::uint32_t vma : adopt->carried) {
    if (vma >= ChildSlot::max_carried) {
      return Error(Errc::limit_exceeded, "more files differ here than can be carried").in("resume");
    }
    slot->carried[vma / 64] |= std::uint64_t{1} << (vma % 64);
  }
  slot->pending = {};
  slot->log.reset();
  slot->pages_total.store(image->pages());
  for (auto* counter : {&slot->pages_fetched, &slot->bytes_fetched, &slot->faults, &slot->cached,
                        &slot->zeros, &slot->fallbacks}) {
    counter->store(0);
  }

  // 6. From now on its pager serves it.
  Pager& pager = worker_.pager_of(image->name());
  Pager::Newcomer newcomer{slot, image, *policy, cache,
                           std::make_shared<const MemfdRanges>(memfd_ranges(*mappings))};
  if (auto r = pager.adopt(newcomer, true); !r) return r;
  guard.keep();
  const auto undo = [&](Result<void> why) {
    pager.drop(id);
    return why;
  };
  if (auto r = reply(local::Adopted{}); !r) return undo(r);

  timer.done("resume.adopt");

  // 7. It has replaced its memory; with Eager all pages come now. Then it runs.
  auto mapped = channel_.receive(local::within(step_deadline));
  if (!mapped) {
    return undo(Error(Errc::child_died, "the launcher ended")
                    .of_handler(image->name().handler)
                    .in("wait for the restorer"));
  }
  if (auto r = local::decode_reply<local::Mapped>(Bytes(mapped->bytes)); !r) {
    return undo(r.error().in("restore"));
  }
  timer.done("resume.restore");
  if (policy->fetch == FetchKind::eager) {
    const Time by = tcp::monotonic_now() + std::uint64_t{120} * 1'000'000'000;
    if (auto r = pager.bring_all(id, by); !r) return undo(r);
    timer.done("resume.bring_all");
  } else {
    pager.foresee(id);
  }
  if (tree_ != nullptr) {
    if (auto r = tree_->arrive(step_deadline); !r) return undo(r);
  }
  done_ = true;
  if (auto r = reply(local::Go{}); !r) return undo(r);
  return {};
}

}  // namespace mitosis::agent
