// SPDX-License-Identifier: MIT
// take_over(): the calling process becomes a child of a prepared parent. World: user.
// The story of a resume, in seven steps. Until the last everything can still be refused, and the
// caller goes on as if nothing had been; the last replaces its memory, and does not return.
#pragma once

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/restore/caller.hpp>
#include <mitosis/fork/user/restore/checks.hpp>
#include <mitosis/fork/user/restore/offer.hpp>
#include <mitosis/fork/user/restore/opened.hpp>
#include <mitosis/fork/user/restore/room.hpp>
#include <mitosis/fork/user/restore/rseq.hpp>
#include <mitosis/fork/user/restore/seccomp.hpp>
#include <mitosis/fork/user/restore/write_program.hpp>

namespace mitosis::restore {

/// Makes the other processes of a tree, whose root the calling process is to become; see
/// grow_tree.hpp.
inline Result<void> grow_tree(const Member& root, const local::ChannelView& agent,
                              const ResumeRequest& request, local::Deadline deadline);

/// Turns the calling process into a child: its pid, its standard streams, its children and its
/// identity stay, all else becomes the parent's as of prepare. Does not return on success. On
/// failure the caller is as before; close `agent` then, to have its agent forget the attempt.
/// After the point of no return a failure ends the process with exit_not_restored, and the agent
/// has been told why. The caller must be the process's only thread. A tree's root makes the others;
/// `member` is one of these, whose launcher the root's has forked.
inline Result<void> take_over(const local::ChannelView& agent, const ResumeRequest& request,
                              const Member* member = nullptr) {
  const local::Deadline deadline = local::within(request.patience);

  // ---- 1. Ask for the descriptor ------------------------------------------------------------
  if (Result<void> single = check_single_thread(); !single) return single;
  auto offer = ask(agent, request, deadline);
  if (!offer) return offer.error();
  const auto view = DescriptorView::parse(offer->descriptor.bytes());
  if (!view) return view.error();
  const std::vector<UniqueFd>& shared = member == nullptr ? offer->shared : member->shared;
  if (shared.size() != view->shared_objects().size()) {
    return Error(Errc::bad_message, "its shared memory").in("read the offer");
  }

  // ---- 2. Check that this machine can run it -------------------------------------------------
  auto own = read_address_space();
  if (!own) return own.error();
  utsname name = {};
  const Machine here = look_at_machine(*own, name);
  if (Result<void> fits = check_machine(*view, here); !fits) return fits;
  if (Result<void> may = check_filters(*view); !may) return may;

  // ---- 3. Get what it has: its files and timers, as the caller may ----------------------------
  auto opened = open_all(*view, offer->userfaultfd_device.get(), agent.fd(),
                         Span<UniqueFd>(offer->shared), member);
  if (!opened) return opened.error();
  if (!view->tree().empty()) {
    const Member root{0, *view, opened->files, shared};
    if (Result<void> grown = grow_tree(root, agent, request, deadline); !grown) return grown;
  }

  auto timers = PosixTimers::make(*view);
  if (!timers) return timers.error();
  const Permitted permitted = ask_what_is_permitted(*view, request.warn);

  // ---- 4. Hand the agent a userfaultfd of this process ----------------------------------------
  local::Adopt adopt;
  adopt.carried.assign(opened->mapped.carried().begin(), opened->mapped.carried().end());
  const int handed[] = {opened->uffd.get()};
  if (Result<void> sent = agent.send(adopt, deadline, handed); !sent) return sent;

  // ---- 5. Write the program, while the agent gets ready ---------------------------------------
  const bool cache_local = static_cast<bool>(offer->cache);
  auto room = make_room(*view, {cache_local, opened->mapped.carried()}, *own, here,
                        late_ops(opened->files));
  if (!room) return room.error();
  if (Result<void> written = room->trampoline.write(
          *view, view->machine().xfeatures & here.xfeatures, birth_of(request, *offer));
      !written) {
    return written;
  }
  auto program = write_program(*view, *own, *opened, offer->cache.get(), shared, *room, permitted,
                               *timers, request.same_numbers);
  if (!program) return program.error();

  // ---- 6. Wait for the agent ------------------------------------------------------------------
  auto packet = agent.receive(deadline);
  if (!packet) return packet.error();
  if (auto adopted = local::decode_reply<local::Adopted>(packet->bytes); !adopted) {
    return adopted.error();
  }

  // ---- 7. Become the child --------------------------------------------------------------------
  const SignalsBlocked blocked;
  OwnRseq rseq;
  if (Result<void> done = rseq.unregister(); !done) return done;
  arch::enter_blob(room->trampoline.code(), *program);
}

}  // namespace mitosis::restore

#include <mitosis/fork/user/restore/grow_tree.hpp>
