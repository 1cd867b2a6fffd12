// SPDX-License-Identifier: MIT
// Every law for every legal combination of the axes.
// The suite is parameterised by value, not by type: the laws reach a policy through its compiled
// driver, and 2,400 test classes would take minutes to compile.
#include "laws.hpp"

#include <mitosis/policy/matrix.hpp>

#include <gtest/gtest.h>

#include <string>

namespace mitosis::laws {
namespace {

class ForkLaws : public testing::TestWithParam<PolicyName> {
 protected:
  const sim::RunPolicy& policy_ = driver(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Matrix, ForkLaws, testing::ValuesIn(FullMatrix::names),
                         [](const auto& tested) {
                           return std::string(format(tested.param, "_").c_str());
                         });

#define LAW(Name, function) \
  TEST_P(ForkLaws, Name) {  \
    function(policy_);      \
  }

LAW(ChildReadsTheParentsBytesAsOfPrepare, child_reads_the_parents_bytes_as_of_prepare)
LAW(LaterWritesOfTheParentAreNeverSeen, later_writes_of_the_parent_are_never_seen)
LAW(LaterWritesOfAChildAreNeverSeen, later_writes_of_a_child_are_never_seen)
LAW(ASecondFaultIsIdempotent, a_second_fault_is_idempotent)
LAW(TheParentMayExit, the_parent_may_exit)
LAW(SmallBudgetsChangeNoByte, small_budgets_change_no_byte)
LAW(FetchingIsWhatThePolicySays, fetching_is_what_the_policy_says)
LAW(RemovedPagesReadZero, removed_pages_read_zero)
LAW(MovedPagesKeepTheirBytes, moved_pages_keep_their_bytes)
LAW(UnmappedPagesAreGone, unmapped_pages_are_gone)
LAW(SplitMappingsStillRead, split_mappings_still_read)
LAW(AForkedProcessReadsTheSameBytes, a_forked_process_reads_the_same_bytes)
LAW(GrandchildrenReadEachPageFromItsAncestor, grandchildren_read_each_page_from_its_ancestor)
LAW(RandomProgramsSeeWhatTheyMust, random_programs_see_what_they_must)
LAW(AfterReclaimNothingMoreIsReadable, after_reclaim_nothing_more_is_readable)
LAW(AfterTheLeaseNothingMoreIsReadable, after_the_lease_nothing_more_is_readable)
LAW(AWrongKeyOpensNothing, a_wrong_key_opens_nothing)
LAW(ACrashedPeerEndsInAnErrorInTime, a_crashed_peer_ends_in_an_error_within_the_deadline)
LAW(ARestartedAgentIsWaitedFor, a_restarted_agent_is_waited_for)
LAW(AFabricThatFailsLeavesTheFallback, a_fabric_that_fails_everything_leaves_the_fallback)
LAW(AFabricThatReordersChangesNoByte, a_fabric_that_reorders_changes_no_byte)
LAW(AFabricThatIsLateEndsInTime, a_fabric_that_is_late_ends_in_an_error_within_the_deadline)
LAW(AChildThatDiesLeavesNothingBehind, a_child_that_dies_leaves_nothing_behind)

}  // namespace
}  // namespace mitosis::laws
