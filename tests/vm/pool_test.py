#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Connection pools on two machines with soft-RoCE, and processes that use them."""

import os

from case import Case, run_or_skip
from pools import Pools, SOCKET

POOLED = os.environ.get("MITOSIS_POOLED", "")
POOLED_C = os.environ.get("MITOSIS_POOLED_C", "")


class ConnectionPools(Case):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pools = Pools(cls.machines)
        cls.addClassCleanup(cls.pools.stop)

    def serve(self):
        """Starts the example's server on machine 1."""
        server = self.machines[1]
        server.must("sh", "-c", f"rm -f /run/served; {POOLED} serve {SOCKET} > /run/served 2>&1 & "
                                f"echo $! > /run/pid")
        self.wait_for(lambda: "ready" in server.run("cat", "/run/served")[1],
                  lambda: server.run("cat", "/run/served")[1] + self.pools.log(server))

    def call(self, program=POOLED):
        return self.machines[0].run(program, "call", SOCKET, "1")

    def call_until(self, part, seconds=60, program=POOLED):
        """Until what a call says has `part` in it; a link takes a moment to be there again."""
        said = []
        self.wait_for(lambda: said.append(self.call(program)) or part in said[-1][1],
                  lambda: f"{said[-1]} {self.pools.log(self.machines[0])}", seconds)
        return said[-1]

    def test_processes_read_and_talk_through_what_their_pools_hold(self):
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

    def test_a_pool_that_is_killed_is_told_of_and_a_new_one_takes_over(self):
        self.serve()
        self.pools.kill(self.machines[1])
        self.wait_for(lambda: "has ended" in self.machines[1].run("cat", "/run/served")[1],
                  lambda: self.machines[1].run("cat", "/run/served")[1])
        self.pools.start(self.machines[1])
        self.pools.wait(self.machines[1])
        self.serve()
        self.assertEqual(self.call_until("hello")[0], 0)

    def test_without_a_pool_it_says_so(self):
        status, said = self.machines[0].run(POOLED, "call", "/run/none", "1")
        self.assertEqual(status, 1)
        self.assertIn("/run/none: no connection pool", said)


if __name__ == "__main__":
    run_or_skip()
