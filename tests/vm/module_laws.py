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
# What the module documents as not built (docs/limits.md): skipped, with the reason.
REFUSED = {"Laws.files_keep_their_offset": "the module takes no open files along",
           "Families.the_agent_spawns_children_by_itself": "a module starts no processes"}


def check_laws(case, machine, *names, kept, policy=POLICY, elsewhere=""):
    """Lets the module keep the laws of these names: `kept` of them, and the refused ones."""
    # Nothing there loads by itself what a program asks for.
    machine.must("modprobe", "-a", "bridge", "veth")
    status, said = machine.run(
        LIVE_TEST, "--gtest_filter=" + ":".join(f"*{name}*" for name in names), seconds=SECONDS,
        env={"MITOSIS_LIVE_MODULE": CALL, "MITOSIS_LIVE_POLICY": policy,
             "MITOSIS_LIVE_ELSEWHERE": elsewhere})
    case.assertEqual(status, 0, said)
    case.assertIn(f"[  PASSED  ] {kept} tests", said)
    for name, why in REFUSED.items():
        case.assertEqual(name in said, why in said, said)
        case.assertNotRegex(said, rf"OK \] .*{name}")


class LawsHere(ModuleCase):
    number = 1  # beside others

    def test_laws(self):
        check_laws(self, self.machine, "Laws.", "Families.", kept=7)


class Laws(RemoteCase):

    def test_laws(self):
        begin(self.other, "/run/elsewhere", "/usr/bin/python3", "-B", ELSEWHERE, "serve",
              self.other.address)
        self.addCleanup(self.other.run, "pkill", "-f", "elsewhere.py serve")
        self.owner.must(CALL, "connect", 1, self.other.address)
        # Those of many children are the same there, and take long.
        check_laws(self, self.owner, "Laws.", "Families.grandchildren", "Families.a_child", kept=6,
                   elsewhere=f"/usr/bin/python3 -B -S -E {ELSEWHERE} {self.other.address}")
        for machine in self.machines:
            self.assertGreater(self.statistics(machine)["remote_pages"], 3000)
