// SPDX-License-Identifier: MIT
// Session: resume of a tree. World: user. Included by session.hpp only.
// Each member is resumed over a connection of its own, by a session of its own, as every child is;
// they meet before the first of them runs.
#pragma once

#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/agent/tree_refusal.hpp>

#include <system_error>
#include <thread>
#include <utility>

namespace mitosis::agent {

/// Of the members that have not ended, each of which is prepared under a handler of its own.
inline Result<MemberImages> Session::fetch_members(const Image& root, std::uint32_t uid) {
  MemberImages images;
  const auto tree = root.view().tree();
  for (std::size_t i = 1; i < tree.size(); ++i) {
    const descriptor::MemberRecord member = tree[i];
    if (descriptor::has_ended(member)) continue;
    auto image = fetch(root.name().machine, HandlerId{member.handler}, member.key, uid);
    if (!image) return image.error().in("fetch a tree");
    if ((*image)->name().generation != Generation{member.generation}) {
      return Error(Errc::unknown_handler, "a process of the tree").in("fetch a tree");
    }
    images.push_back(*image);
  }
  return images;
}

/// Where it returns all members run, or none will.
inline Result<void> Session::resume_root(const local::Resume& message,
                                         const std::shared_ptr<const Image>& image) {
  std::size_t running = 1;
  const auto tree = image->view().tree();
  for (std::size_t i = 1; i < tree.size(); ++i) {
    running += descriptor::has_ended(tree[i]) ? 0 : 1;
  }
  // Only a spawn into a pid namespace has fetched them.
  if (ticket_ == nullptr || members_.size() + 1 != running) return detail::needs_namespace();
  TreeResume meeting(running, root_pidfd_);
  tree_ = &meeting;
  auto done = resume_image(message, image);
  if (!done) {
    meeting.fail(done.error());
    done = meeting.result();
  }
  for (std::thread& lane : lanes_) lane.join();
  lanes_.clear();
  tree_ = nullptr;
  return done;
}

/// The root's launcher has sent the members' connections.
inline Result<void> Session::begin_members(local::Packet& packet) {
  const auto message = local::decode_packet<local::Members>(Bytes(packet.bytes));
  if (!message) return message.error();
  if (tree_ == nullptr || !lanes_.empty() || packet.fds.size() != members_.size() ||
      message->count != members_.size()) {
    return Error(Errc::bad_message, "the connections of its tree").in("resume a tree");
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    try {
      lanes_.emplace_back([this, image = members_[i],
                           channel = local::Channel(std::move(packet.fds[i]))]() mutable {
        Session member(worker_, std::move(channel), std::move(image), {}, tree_);
        if (auto r = member.resume_spawned(); !r) tree_->fail(r.error());
      });
    } catch (const std::system_error& no_thread) {
      return Error(Errc::limit_exceeded, "threads", no_thread.code().value()).in("resume a tree");
    }
  }
  return reply(local::Done{});
}

}  // namespace mitosis::agent
