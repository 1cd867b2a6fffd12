# SPDX-License-Identifier: MIT
"""What the tests of process trees share."""

import pathlib
import subprocess

from case import COMMAND, ProgramTest
from machines import wait_for

TALKERS = pathlib.Path(__file__).parent / "talkers"
PYTHON = "/usr/bin/python3"


def descendants(pid):
    """All processes below one."""
    below = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            below += [int(child), *descendants(int(child))]
    return below


class TreeTest(ProgramTest):
    def spawn(self, prepared, policy):
        handler, key = prepared
        return self.talker(2, [COMMAND, "spawn", 1, handler, "--key", key, "--policy", policy,
                               "--pidns"], stderr=subprocess.DEVNULL)

    def child_of(self, prepared, policy):
        return self.spawn(prepared, policy)

    def nothing_left(self):
        """No process of a child's, and no shadow."""
        def left():
            return [(pid, name) for machine in (1, 2)
                    for pid, name in self.machines.strangers(machine)
                    if name != "mitosis-guard"]
        try:
            wait_for(lambda: not left(), "end", 20)
        except TimeoutError:
            self.fail(f"left: {left()}")

    def refusal(self, call, *words):
        with self.assertRaises(RuntimeError) as refused:
            call(*words)
        return str(refused.exception)

    def forked(self, in_child, *words):
        """A talker that has a child, which has done so and sleeps."""
        return self.started(1, [PYTHON, "-c", "import os, socket, sys, time\n"
                                "child = os.fork()\n"
                                "if child == 0:\n"
                                "    sys.stdin.close()\n"
                                f"    {in_child}\n"
                                "    print('ready', flush=True); time.sleep(1000)\n"
                                "for line in sys.stdin: print(line.strip() + '!', flush=True)\n"
                                "os.kill(child, 9)\n", *words])
