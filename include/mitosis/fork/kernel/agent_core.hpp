// SPDX-License-Identifier: MIT
// What the shim calls of agent_calls.hpp and agent_service.hpp: the same under every policy.
// World: kernel. Contracts: boundary.h. For a module's only C++ file, which module.hpp brings it
// to; no C++ calls them, so they are marked as used.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/kernel/agent_calls.hpp>
#include <mitosis/fork/kernel/agent_service.hpp>
#include <mitosis/mem/descriptor/view.hpp>

extern "C" {

[[gnu::used]] inline mitosis_u32 mitosis_core_owners(const void* bytes, mitosis_u64 size,
                                                     mitosis_owner* into, mitosis_u32 room) {
  const auto view =
      mitosis::DescriptorView::parse(mitosis::Bytes(static_cast<const std::uint8_t*>(bytes), size));
  if (!view) return 0;
  const auto all = view->owners();
  for (mitosis_u32 i = 0; i < all.size() && i < room; ++i) {
    const mitosis::descriptor::OwnerRecord owner = all[i];
    into[i] = {owner.machine, owner.target_number, owner.target_key,
               owner.handler, owner.generation,    {}};
    static_assert(sizeof owner.address == sizeof into[i].address);
    __builtin_memcpy(into[i].address, owner.address, sizeof owner.address);
  }
  return static_cast<mitosis_u32>(all.size());
}

[[gnu::used]] inline int mitosis_core_greet(mitosis_socket* socket, int purpose,
                                            mitosis_u32 machine) {
  static_assert(MITOSIS_CALLS == static_cast<int>(mitosis::auth::Purpose::rpc));
  static_assert(MITOSIS_DEMAND_READS == static_cast<int>(mitosis::auth::Purpose::demand_reads));
  return mitosis::kernel::greet(socket, static_cast<mitosis::auth::Purpose>(purpose),
                                mitosis::MachineId{machine});
}

[[gnu::used]] inline int mitosis_core_ping(mitosis_socket* socket, mitosis_u64 number) {
  mitosis::rpc::NilReply reply;
  return mitosis::kernel::call(socket, number, mitosis::rpc::Nil{}, reply);
}

[[gnu::used]] inline int mitosis_core_query(mitosis_socket* socket, mitosis_u64 number,
                                            mitosis_u64 handler, const unsigned char* key,
                                            mitosis_fetched* into) {
  mitosis::AuthKey given;
  if (key != nullptr) __builtin_memcpy(given.bytes, key, sizeof given.bytes);
  return mitosis::kernel::query(socket, number, mitosis::HandlerId{handler}, given, *into);
}

[[gnu::used]] inline int mitosis_core_renew(mitosis_socket* socket, mitosis_u64 number,
                                            mitosis_u64 handler, mitosis_u64 generation,
                                            mitosis_u64* lease_ms) {
  mitosis::rpc::LeaseReply reply;
  const int error = mitosis::kernel::call(
      socket, number,
      mitosis::rpc::RenewLease{mitosis::HandlerId{handler}, mitosis::Generation{generation}},
      reply);
  if (error == 0) *lease_ms = reply.lease_ms;
  return error;
}

[[gnu::used]] inline int mitosis_core_read_lane(mitosis_socket* socket, mitosis_u64* sequence,
                                                const mitosis_owner* owner, mitosis_read* reads,
                                                mitosis_u32 count) {
  return mitosis::kernel::read_lane(socket, sequence, {owner->target_number, owner->target_key},
                                    reads, count);
}

[[gnu::used]] inline int mitosis_core_admit(mitosis_socket* socket, int* purpose) {
  mitosis::auth::Purpose wanted{};
  const int error = mitosis::kernel::admit(socket, wanted);
  *purpose = static_cast<int>(wanted);
  return error;
}

[[gnu::used]] inline void mitosis_core_serve(mitosis_socket* socket, int purpose) {
  if (purpose == MITOSIS_CALLS)
    mitosis::kernel::CallSession(socket).run();
  else
    mitosis::kernel::serve_lane(socket);
}

}  // extern "C"
