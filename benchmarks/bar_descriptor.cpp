// SPDX-License-Identifier: MIT
// Bar: the size of the descriptor of a process with 1 GiB of touched memory. World: user.
#include <harness/bar.hpp>
#include <harness/origin.hpp>
#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <memory>

namespace {

using namespace bench;

/// KiB, as the agent offers it to who resumes; nothing to compare with.
std::optional<Measured> descriptor_size(Scene& scene, Origin& origin) {
  const Handle* handle = origin.get();
  auto agent = scene.cluster().child_agent().connect();
  if (handle == nullptr || !agent) return std::nullopt;
  const auto key = mitosis::parse_key_text(handle->key);
  if (!key) return std::nullopt;
  mitosis::local::Resume request;
  request.machine = parent_machine;
  request.handler = mitosis::HandlerId{handle->handler};
  request.key = *key;
  const auto deadline = mitosis::local::within(std::chrono::seconds(20));
  std::vector<mitosis::UniqueFd> fds;
  const auto offer = agent->call<mitosis::local::ResumeOffer>(request, deadline, {}, &fds);
  if (!offer) return std::nullopt;
  return Measured{static_cast<double>(offer->descriptor_bytes) / 1024, 0};
}

void add(Scene& scene) {
  auto origin = std::make_shared<Origin>(
      scene, [&scene] { return scene.start_touched_parent(1024); }, "rc+prefetch8+none+cow");
  add_bar("descriptor_of_1GiB", 1, [&scene, origin] { return descriptor_size(scene, *origin); });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
