// SPDX-License-Identifier: MIT
// Errc: the stable error codes, their words and what the user can do. World: any (freestanding).
// The numbers are part of the wire protocol and of the C header: never renumber, only append.
#pragma once

#include <cstdint>

namespace mitosis {

enum class Errc : std::uint16_t {
  ok = 0,
  invalid_argument = 1,
  unknown_handler = 2,
  handler_in_use = 3,
  wrong_key = 4,
  not_permitted = 5,
  missing_privilege = 6,
  agent_not_running = 7,
  machine_unknown = 8,
  machine_unreachable = 9,
  connection_lost = 10,
  timed_out = 11,
  authentication_failed = 12,
  protocol_mismatch = 13,
  bad_message = 14,
  bad_descriptor = 15,
  wrong_architecture = 16,
  missing_cpu_feature = 17,
  vdso_mismatch = 18,
  address_in_use = 19,
  budget_exceeded = 20,
  out_of_memory = 21,
  policy_unknown = 22,
  policy_not_compiled = 23,
  unsupported_process = 24,
  unsupported_file = 25,
  file_missing = 26,
  revoked = 27,
  lease_expired = 28,
  page_unavailable = 29,
  child_died = 30,
  system_call_failed = 31,
  shutting_down = 32,
  transport_unsupported = 33,
  limit_exceeded = 34,
  last = limit_exceeded,
};

/// What failed, in words that complete a sentence.
constexpr const char* words(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
      return "no error";
    case Errc::invalid_argument:
      return "invalid argument";
    case Errc::unknown_handler:
      return "no such handler is prepared";
    case Errc::handler_in_use:
      return "the handler id is already in use";
    case Errc::wrong_key:
      return "the auth key does not open this handler";
    case Errc::not_permitted:
      return "the caller may not do this";
    case Errc::missing_privilege:
      return "a privilege is missing";
    case Errc::agent_not_running:
      return "no agent answers on this machine";
    case Errc::machine_unknown:
      return "the machine is not connected";
    case Errc::machine_unreachable:
      return "the machine cannot be reached";
    case Errc::connection_lost:
      return "the connection was lost";
    case Errc::timed_out:
      return "the deadline passed";
    case Errc::authentication_failed:
      return "the other agent was not authenticated";
    case Errc::protocol_mismatch:
      return "the peer speaks another protocol version";
    case Errc::bad_message:
      return "a message is malformed";
    case Errc::bad_descriptor:
      return "the descriptor is malformed";
    case Errc::wrong_architecture:
      return "the parent runs on another architecture";
    case Errc::missing_cpu_feature:
      return "this CPU lacks a feature that the parent uses";
    case Errc::vdso_mismatch:
      return "this kernel's vdso has another layout than the parent's";
    case Errc::address_in_use:
      return "an address range of the parent is occupied here";
    case Errc::budget_exceeded:
      return "the memory budget is exceeded";
    case Errc::out_of_memory:
      return "out of memory";
    case Errc::policy_unknown:
      return "not a policy name";
    case Errc::policy_not_compiled:
      return "the policy is not compiled in";
    case Errc::unsupported_process:
      return "the process has state that cannot be captured";
    case Errc::unsupported_file:
      return "an open file cannot be captured";
    case Errc::file_missing:
      return "a file of the parent cannot be opened here";
    case Errc::revoked:
      return "access was revoked by reclaim";
    case Errc::lease_expired:
      return "the lease expired";
    case Errc::page_unavailable:
      return "a page cannot be had";
    case Errc::child_died:
      return "the child died before its first instruction";
    case Errc::system_call_failed:
      return "a system call failed";
    case Errc::shutting_down:
      return "the agent is shutting down";
    case Errc::transport_unsupported:
      return "the fabric cannot do this transport";
    case Errc::limit_exceeded:
      return "a limit is exceeded";
  }
  return "an unknown error";
}

/// What the user can do about it; empty where the subject of the error says it all.
constexpr const char* remedy(Errc code) noexcept {
  switch (code) {
    case Errc::unknown_handler:
      return "list the handlers there with `mitosis ps`";
    case Errc::handler_in_use:
      return "choose another id, or reclaim it first";
    case Errc::wrong_key:
      return "pass the key that prepare printed";
    case Errc::agent_not_running:
      return "start one with `mitosis agent`";
    case Errc::machine_unknown:
      return "run `mitosis connect` first";
    case Errc::machine_unreachable:
      return "check that its agent runs and that the address is right";
    case Errc::authentication_failed:
      return "check its id and address, and give both agents the same --secret-file";
    case Errc::protocol_mismatch:
      return "run the same mitosis version on both machines";
    case Errc::wrong_architecture:
      return "resume on a machine of the parent's architecture";
    case Errc::missing_cpu_feature:
      return "resume on a machine whose CPU has it";
    case Errc::vdso_mismatch:
      return "resume on a machine that runs the parent's kernel";
    case Errc::address_in_use:
      return "resume from a launcher that leaves the range free";
    case Errc::budget_exceeded:
      return "raise --memory-budget, or keep less: cow instead of copy, none instead of local";
    case Errc::policy_unknown:
    case Errc::policy_not_compiled:
      return "list what there is with `mitosis policies`";
    case Errc::file_missing:
      return "make the same path available on this machine";
    case Errc::revoked:
      return "prepare again";
    default:
      return "";
  }
}

}  // namespace mitosis
