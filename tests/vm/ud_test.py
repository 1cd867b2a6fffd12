#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Calls over datagrams between two machines with soft-RoCE: right, once, and never for ever."""

import os
import time

from case import Case, run_or_skip

PROGRAM = os.environ.get("MITOSIS_UD_RPC", "")


class OverDatagrams(Case):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server, cls.client = cls.machines

    def serve(self):
        """Starts the server; where it is."""
        self.server.must("sh", "-c", f"rm -f /run/ud; setsid {PROGRAM} serve > /run/ud 2>&1 &")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            said = self.server.run("cat", "/run/ud")[1]
            if said.endswith("\n"):
                return said.strip()
        raise AssertionError(f"no server: {said}")

    def stop(self, way):
        """What the server says at its end."""
        self.client.must(PROGRAM, "stop", way)
        return self.server.must("sh", "-c", "tail -n 1 /run/ud")

    def test_calls_under_loss_are_right_and_executed_once(self):
        way = self.serve()
        for part, count in ((0, 300), (0.05, 300), (0.3, 60)):
            with self.subTest(loss=part):
                for number in range(2):
                    self.cluster.switch.lose(number, part)
                said = self.client.run(PROGRAM, "calls", way, count, seconds=200)
                self.assertEqual(said, (0, f"done {count}\n"))
                for number in range(2):
                    self.cluster.switch.lose(number, 0)
                self.assertEqual(self.stop(way), f"reclaimed {count} twice 0\n")
                way = self.serve()
        self.stop(way)

    def test_a_device_without_dynamic_connections_says_so_and_what_to_use(self):
        status, said = self.client.run(PROGRAM, "dct")
        self.assertEqual((status, said), (1, "error: the fabric cannot do this transport: DCT: no "
                                             "mlx5 device; use an rc policy, or --fabric tcp\n"))

    def test_a_server_that_is_gone_is_told_of_in_time(self):
        way = self.serve()
        self.client.must(PROGRAM, "nil", way, 10)
        self.cluster.switch.unplug(0)
        began = time.monotonic()
        status, said = self.client.run(PROGRAM, "nil", way, 1)
        self.assertEqual(status, 1)
        self.assertIn("machine 0: ping: the machine cannot be reached: no answer to 12 packets",
                      said)
        self.assertLess(time.monotonic() - began, 20)
        self.cluster.switch.plug(0)
        self.client.must(PROGRAM, "nil", way, 10)
        self.stop(way)


if __name__ == "__main__":
    run_or_skip()
