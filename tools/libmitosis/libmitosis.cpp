// SPDX-License-Identifier: MIT
// libmitosis: the C interface over the client's headers. World: user.
// It keeps nothing but the client's two tables and, for each thread, its last error.
#include <mitosis/mitosis.h>

#include <mitosis/mitosis.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "last_error.hpp"

namespace {

using namespace mitosis;  // NOLINT: this file is all about it

static_assert(sizeof(mitosis_key) == sizeof(AuthKey::bytes));
static_assert(MITOSIS_HERE == static_cast<std::uint32_t>(MachineId::none));
static_assert(MITOSIS_KEYLESS == local::prepare_keyless &&
              MITOSIS_ENDS_WITH_CALLER == local::prepare_ends_with_caller &&
              MITOSIS_PINNED == local::prepare_pinned && MITOSIS_LOSSY == local::prepare_lossy);
static_assert(MITOSIS_ELIMIT == static_cast<int>(Errc::last) &&
              MITOSIS_EWRONG_KEY == static_cast<int>(Errc::wrong_key) &&
              MITOSIS_EVDSO == static_cast<int>(Errc::vdso_mismatch) &&
              MITOSIS_ESYSTEM == static_cast<int>(Errc::system_call_failed));

using c::fail;
using c::last_error;
using c::outcome;

AuthKey key_of(const mitosis_key* key) {
  AuthKey copy;
  if (key != nullptr) std::memcpy(copy.bytes, key->bytes, sizeof(copy.bytes));
  return copy;
}
restore::ResumeRequest request_of(uint32_t machine, uint64_t handler, const mitosis_key* key,
                                  const char* policy) {
  restore::ResumeRequest request;
  request.machine = MachineId{machine};
  request.handler = HandlerId{handler};
  request.key = key_of(key);
  request.policy = policy != nullptr ? policy : "";
  return request;
}

/// Empty where there is no hook.
std::function<void()> callback(mitosis_hook hook, void* data) {
  if (hook == nullptr) return {};
  return [hook, data] { hook(data); };
}

}  // namespace

extern "C" {

int mitosis_open(void) {
  const Result<int> sd = client::connections().open();
  return sd ? *sd : fail(sd.error());
}

void mitosis_close(int sd) {
  client::connections().close(sd);
}

int mitosis_prepare(int sd, uint64_t handler, const char* policy, struct mitosis_key* key) {
  return mitosis_prepare_as(sd, handler, policy, 0, key);
}

int mitosis_prepare_process(int sd, int32_t pid, uint64_t handler, const char* policy,
                            struct mitosis_key* key) {
  return mitosis_prepare_process_as(sd, pid, handler, policy, 0, key);
}

int mitosis_prepare_process_as(int sd, int32_t pid, uint64_t handler, const char* policy,
                               unsigned flags, struct mitosis_key* key) {
  if ((flags & ~(MITOSIS_ALONE | MITOSIS_LOSSY)) != 0) {
    return fail(Error(Errc::invalid_argument, "flags that are not for another process")
                    .of_handler(HandlerId{handler})
                    .in("prepare"));
  }
  const auto prepared =
      client::prepare_process(sd, pid, HandlerId{handler}, policy,
                              {(flags & MITOSIS_ALONE) != 0, (flags & MITOSIS_LOSSY) != 0});
  if (!prepared) return fail(prepared.error());
  for (const std::string& lost : prepared->dropped) {
    std::fprintf(stderr, "mitosis: prepare: dropped from process %d: %s\n", pid, lost.c_str());
  }
  if (key != nullptr) std::memcpy(key->bytes, prepared->key.bytes, sizeof(key->bytes));
  return 0;
}

int mitosis_prepare_as(int sd, uint64_t handler, const char* policy, unsigned flags,
                       struct mitosis_key* key) {
  const auto prepared = client::prepare(sd, HandlerId{handler}, policy, flags);
  if (!prepared) return fail(prepared.error());
  if (prepared->child) return MITOSIS_CHILD;
  for (const std::string& lost : prepared->dropped) {
    std::fprintf(stderr, "mitosis: prepare: dropped from process %d: %s\n", ::getpid(),
                 lost.c_str());
  }
  if (key != nullptr) std::memcpy(key->bytes, prepared->key.bytes, sizeof(key->bytes));
  return MITOSIS_PARENT;
}

int mitosis_at_fork(mitosis_hook before, mitosis_hook parent, mitosis_hook child, void* data) {
  return client::hooks().add(
      {callback(before, data), callback(parent, data), callback(child, data)});
}

int mitosis_remove_hooks(int number) {
  if (client::hooks().remove(number)) return 0;
  return fail(Error(Errc::invalid_argument, "no hooks of that number are registered"));
}

int mitosis_at_resume(mitosis_hook call, void* data) {
  auto& callbacks = client::resumed_callbacks();
  const auto number = call == nullptr ? callbacks.signal() : callbacks.add(call, data);
  return number ? *number : fail(number.error());
}

void mitosis_renew(void) {
  client::randomness().renew();
}

int mitosis_get_identity(struct mitosis_identity* into) {
  const auto own = identity();
  if (!own) return 0;
  std::memcpy(into->unique, own->unique, sizeof(into->unique));
  into->parent_machine = static_cast<std::uint32_t>(own->parent);
  into->machine = static_cast<std::uint32_t>(own->machine);
  into->handler = static_cast<std::uint64_t>(own->handler);
  into->generation = static_cast<std::uint64_t>(own->generation);
  into->instance = own->instance;
  return 1;
}

int mitosis_resume_remote(int, uint32_t machine, uint64_t handler, const struct mitosis_key* key,
                          const char* policy) {
  return fail(client::resume(request_of(machine, handler, key, policy)));
}

int mitosis_resume_local(int sd, uint64_t handler, const struct mitosis_key* key,
                         const char* policy) {
  return mitosis_resume_remote(sd, MITOSIS_HERE, handler, key, policy);
}

int mitosis_reclaim(int sd, uint64_t handler) {
  return outcome(client::reclaim(sd, HandlerId{handler}));
}

int mitosis_reclaim_remote(int sd, uint32_t machine, uint64_t handler,
                           const struct mitosis_key* key) {
  return outcome(client::reclaim(sd, MachineId{machine}, HandlerId{handler}, key_of(key)));
}

int mitosis_connect(int sd, uint32_t machine, uint32_t nic, const char* address) {
  if (address == nullptr) return fail(Error(Errc::invalid_argument, "no address"));
  return outcome(client::connect_machine(sd, MachineId{machine}, nic, address));
}

int mitosis_nil(int sd) {
  return outcome(client::nil(sd));
}

int mitosis_ping(int sd, uint32_t machine) {
  return outcome(client::ping_machine(sd, MachineId{machine}));
}

int mitosis_stats(int sd, char* json, uint32_t room) {
  const Result<std::string> text = client::stats(sd);
  if (!text) return fail(text.error());
  if (room > 0) json[text->copy(json, room - 1)] = '\0';
  return static_cast<int>(text->size());
}

int mitosis_spawn(int sd, uint32_t machine, uint64_t handler, const struct mitosis_key* key,
                  const char* policy, uint32_t count, const int stdio[3],
                  struct mitosis_child* children) {
  local::Spawn request;
  request.machine = MachineId{machine};
  request.handler = HandlerId{handler};
  request.key = key_of(key);
  request.policy = policy != nullptr ? policy : "";
  request.count = count;
  auto made = client::spawn(sd, request, Span<const int>(stdio, stdio != nullptr ? 3 : 0));
  if (!made) return fail(made.error());
  if (made->size() != count) return fail(Error(Errc::bad_message, "another number of children"));
  for (client::SpawnedChild& child : *made) {
    *children++ = {child.pid, child.pidfd.release()};
  }
  return 0;
}

int mitosis_wait(int sd, int32_t* pid, int32_t* status, int timeout_ms) {
  const auto ended = client::wait_child(sd, std::chrono::milliseconds(timeout_ms));
  if (!ended) return fail(ended.error());
  if (!ended->has_value()) return 0;
  *pid = (*ended)->pid;
  *status = (*ended)->status;
  return 1;
}

void mitosis_key_format(const struct mitosis_key* key, char text[33]) {
  const std::string formatted = format_key(key_of(key));
  std::memcpy(text, formatted.c_str(), formatted.size() + 1);
}

int mitosis_key_parse(const char* text, struct mitosis_key* key) {
  const Result<AuthKey> parsed = parse_key_text(text != nullptr ? text : "");
  if (!parsed) return fail(parsed.error());
  std::memcpy(key->bytes, parsed->bytes, sizeof(key->bytes));
  return 0;
}

int mitosis_errno(void) {
  return last_error.number;
}

const char* mitosis_strerror(void) {
  return last_error.sentence.c_str();
}

}  // extern "C"
