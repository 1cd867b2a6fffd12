// SPDX-License-Identifier: MIT
// The laws of remote fork. Each runs its scene over several seeds, calm and rough networks alike,
// and expects nothing of the policy but that it is one.
#pragma once

#include <mitosis/fork/sim/any_child.hpp>

namespace mitosis::laws {

/// The compiled driver of a policy; aborts for a name that the matrix lacks.
const sim::RunPolicy& driver(PolicyName name);

// bytes_laws.cpp
void child_reads_the_parents_bytes_as_of_prepare(const sim::RunPolicy& policy);
void later_writes_of_the_parent_are_never_seen(const sim::RunPolicy& policy);
void later_writes_of_a_child_are_never_seen(const sim::RunPolicy& policy);
void a_second_fault_is_idempotent(const sim::RunPolicy& policy);
void the_parent_may_exit(const sim::RunPolicy& policy);
void small_budgets_change_no_byte(const sim::RunPolicy& policy);
void fetching_is_what_the_policy_says(const sim::RunPolicy& policy);

// memory_laws.cpp
void removed_pages_read_zero(const sim::RunPolicy& policy);
void moved_pages_keep_their_bytes(const sim::RunPolicy& policy);
void unmapped_pages_are_gone(const sim::RunPolicy& policy);
void split_mappings_still_read(const sim::RunPolicy& policy);
void a_forked_process_reads_the_same_bytes(const sim::RunPolicy& policy);
void grandchildren_read_each_page_from_its_ancestor(const sim::RunPolicy& policy);
void random_programs_see_what_they_must(const sim::RunPolicy& policy);

// access_laws.cpp
void after_reclaim_nothing_more_is_readable(const sim::RunPolicy& policy);
void after_the_lease_nothing_more_is_readable(const sim::RunPolicy& policy);
void a_wrong_key_opens_nothing(const sim::RunPolicy& policy);

// failure_laws.cpp
void a_crashed_peer_ends_in_an_error_within_the_deadline(const sim::RunPolicy& policy);
void a_restarted_agent_is_waited_for(const sim::RunPolicy& policy);
void a_fabric_that_fails_everything_leaves_the_fallback(const sim::RunPolicy& policy);
void a_fabric_that_reorders_changes_no_byte(const sim::RunPolicy& policy);
void a_fabric_that_is_late_ends_in_an_error_within_the_deadline(const sim::RunPolicy& policy);
void a_child_that_dies_leaves_nothing_behind(const sim::RunPolicy& policy);

}  // namespace mitosis::laws
