#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The connection pools of two machines' agents with soft-RoCE, and processes that use them."""

import os

from agents import LIBRARY, POOL, Agents
from case import Case, run_or_skip

POOLED = os.environ.get("MITOSIS_POOLED", "")
POOLED_C = os.environ.get("MITOSIS_POOLED_C", "")
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
ATTACH = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.mitosis_pool_attach.restype = ctypes.c_void_p
library.mitosis_strerror.restype = ctypes.c_char_p
pool = library.mitosis_pool_attach(None, ctypes.c_size_t(int(sys.argv[2]) << 20))
print("attached" if pool else library.mitosis_strerror().decode())
"""


class PoolCase(Case):
    """Has two agents, and a program that uses their pools."""

    PEERS = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agents = Agents(cls.machines, "--fabric", "verbs", "--memory-budget", "64M",
                            peers=cls.PEERS)
        cls.addClassCleanup(cls.agents.stop)

    def serve(self, number=1):
        """Starts the example's server on that machine."""
        server = self.machines[number]
        server.must("sh", "-c", f"rm -f /run/served; {POOLED} serve {POOL} > /run/served 2>&1 & "
                                f"echo $! > /run/pid")
        self.wait_for(lambda: "ready" in server.run("cat", "/run/served")[1],
                  lambda: server.run("cat", "/run/served")[1] + self.agents.log(server))

    def call(self, program=POOLED, to=1):
        return self.machines[1 - to].run(program, "call", POOL, str(to))

    def call_until(self, part, seconds=60, program=POOLED, to=1):
        """Until what a call says has `part` in it; a link takes a moment to be there again."""
        said = []
        self.wait_for(lambda: said.append(self.call(program, to)) or part in said[-1][1],
                  lambda: f"{said[-1]} {self.agents.log(self.machines[1 - to])}", seconds)
        return said[-1]


class ConnectionPools(PoolCase):

    def attach(self, mib, *words):
        return self.machines[0].must(*words, "/usr/bin/python3", "-B", "-c", ATTACH, LIBRARY, mib)

    def test_processes_read_and_talk_through_what_their_agents_hold(self):
        for program in (POOLED, POOLED_C, POOLED):  # the service is another process's each time
            self.serve()
            status, said = self.call_until("hello", program=program)
            self.assertEqual((status, said),
                             (0, "read: what is in a page of machine 1\nback: hello\n"))
            self.wait_for(lambda: self.machines[1].run("cat", "/run/served")[1] ==
                      "ready\ngot: hello\n", lambda: self.machines[1].run("cat", "/run/served")[1])
        status, said = self.call()
        self.assertEqual(status, 1)
        self.assertIn("machine 1: connection pool: no such handler is prepared", said)

    def test_a_server_that_is_killed_is_told_of(self):
        self.serve()
        self.call_until("read")
        self.serve()
        self.machines[1].must("sh", "-c", "kill -9 $(cat /run/pid)")
        status, said = self.call_until("no such handler")
        self.assertEqual(status, 1, said)

    def test_a_pulled_cable_ends_the_link_and_a_plugged_one_brings_it_back(self):
        self.serve()
        self.call_until("hello")
        self.cluster.switch.unplug(1)
        self.addCleanup(self.cluster.switch.plug, 1)
        status, said = self.call_until("the machine cannot be reached")
        self.assertEqual(status, 1, said)
        self.cluster.switch.plug(1)
        self.serve()
        self.assertEqual(self.call_until("hello", seconds=90)[0], 0)

    def test_a_worker_that_is_killed_is_told_of_and_the_next_one_takes_over(self):
        self.serve()
        self.machines[1].must("pkill", "-KILL", "-x", "mitosis-worker")
        self.wait_for(lambda: "has ended" in self.machines[1].run("cat", "/run/served")[1],
                  lambda: self.machines[1].run("cat", "/run/served")[1])
        self.serve()
        self.assertEqual(self.call_until("hello")[0], 0)

    def test_it_is_roots_until_an_administrator_opens_it_and_stays_open(self):
        owner = self.machines[0]
        self.assertIn("only who may write to it may attach", self.attach(1, *NOBODY))
        owner.must("chmod", "666", POOL)
        self.addCleanup(owner.must, "chmod", "755", POOL)
        self.assertEqual(self.attach(1, *NOBODY), "attached\n")
        owner.must("pkill", "-KILL", "-x", "mitosis-worker")
        self.assertEqual(self.attach(1, *NOBODY), "attached\n")

    def test_memory_beyond_the_agents_budget_is_refused(self):
        owner = self.machines[0]
        owner.must("chmod", "666", POOL)
        self.addCleanup(owner.must, "chmod", "755", POOL)
        self.assertEqual(self.attach(20), "attached\n")
        self.assertIn("refused", self.attach(20, *NOBODY))  # a quarter is a user's
        self.assertIn("refused", self.attach(80))

    def test_without_a_pool_it_says_so(self):
        status, said = self.machines[0].run(POOLED, "call", "/run/none", "1")
        self.assertEqual(status, 1)
        self.assertIn("/run/none: no connection pool", said)


class Introduced(PoolCase):
    """Agents that know of each other by `mitosis connect` alone."""

    PEERS = False

    def test_whoever_is_introduced_the_link_serves_both(self):
        first = self.machines[0]
        self.serve(0)
        self.serve(1)
        status, said = self.call(to=0)
        self.assertEqual(status, 1)
        self.assertIn("the machine cannot be reached", said)
        done = self.agents.mitosis(self.machines[1], "connect", "0", self.agents.place(first))
        self.assertEqual(done[0], 0, done)
        self.assertEqual(self.call_until("hello", to=0)[0], 0)
        self.assertEqual(self.call_until("hello", to=1)[0], 0)


if __name__ == "__main__":
    run_or_skip()
