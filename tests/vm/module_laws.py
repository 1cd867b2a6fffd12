# SPDX-License-Identifier: MIT
"""The laws of tests/live on mitosis.ko: the same programs as with agents, with parents and children
on one machine, and on two."""

import os
import pathlib

from module_case import CALL, ModuleCase, RemoteCase, begin

LIVE_TEST = os.environ.get("MITOSIS_LIVE_TEST", "")
ELSEWHERE = pathlib.Path(__file__).resolve().parent / "elsewhere.py"
POLICY = "rc+prefetch8+none+cow"
SECONDS = 600
# What both suites have, and what of it the module documents as not built: docs/limits.md.
LAWS = {"Laws": 4, "Families": 3}
REFUSED = {"files_keep_their_offset": "the module takes no open files along",
           "the_agent_spawns_children_by_itself": "a module starts no processes"}


def check_laws(case, machine, *suites, policy=POLICY, elsewhere=""):
    """Lets the module keep the laws of these suites."""
    # Nothing there loads by itself what a program asks for.
    machine.must("modprobe", "-a", "bridge", "veth")
    names = ":".join(f"*{suite}.*" for suite in suites)
    status, said = machine.run(
        LIVE_TEST, f"--gtest_filter={names}", seconds=SECONDS,
        env={"MITOSIS_LIVE_MODULE": CALL, "MITOSIS_LIVE_POLICY": policy,
             "MITOSIS_LIVE_ELSEWHERE": elsewhere})
    case.assertEqual(status, 0, said)
    case.assertIn(f"[  PASSED  ] {sum(LAWS[suite] for suite in suites)} tests", said)
    case.assertIn(f"[  SKIPPED ] {len(suites)} test", said)
    for name, why in REFUSED.items():
        case.assertEqual(name in said, why in said, said)


class LawsHere(ModuleCase):
    number = 1  # beside others

    def test_laws(self):
        check_laws(self, self.machine, "Laws", "Families")


class Laws(RemoteCase):

    def test_laws(self):
        begin(self.other, "/run/elsewhere", "/usr/bin/python3", "-B", ELSEWHERE, "serve",
              self.other.address)
        self.addCleanup(self.other.run, "pkill", "-f", "elsewhere.py serve")
        self.owner.must(CALL, "connect", 1, self.other.address)
        check_laws(self, self.owner, "Laws", "Families",
                   elsewhere=f"/usr/bin/python3 -B -S -E {ELSEWHERE} {self.other.address}")
        for machine in self.machines:
            self.assertGreater(self.statistics(machine)["remote_pages"], 3000)
