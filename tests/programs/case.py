# SPDX-License-Identifier: MIT
"""What every test of a real program does: prepare it by its pid, resume it often, look at both.

A `Talker` is a program that answers each line on its standard input by one line; what it answers
depends on everything that it was told before. So a child must go on where the parent was, and
neither may notice what the other is told.
"""

import os
import select
import subprocess
import sys
import time
import unittest

from machines import PATIENCE, Machines

COMMAND = os.environ.get("MITOSIS_COMMAND", "")
POLICIES = ("rc+prefetch8+none+cow", "dct+prefetch32+local+cow", "rc+ondemand+none+copy")
# In a row, over all policies. The soak does it for longer.
RESUMES = int(os.environ.get("MITOSIS_TEST_RESUMES", "20"))


def needs(*programs):
    """Skips a test, by name, where a program is not installed."""
    missing = [p for p in programs if not os.path.exists(p)]
    return unittest.skipIf(missing, f"{', '.join(missing)} is not installed")


class Talker:
    """A conversation with a program, line by line."""

    def __init__(self, process):
        self.process = process
        self._held = b""

    @property
    def pid(self):
        return self.process.pid

    def ask(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self):
        """The next line; EOFError where the program ended, TimeoutError where it says nothing."""
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._held:
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{self.process.args} says nothing")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise EOFError(f"{self.process.args} ended with {self.process.wait(PATIENCE)}")
            self._held += got
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()

    def end(self):
        """Its exit status, once its input has ended."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE)


class ProgramTest(unittest.TestCase):
    """The two machines, made once for a class; handlers are numbered as they are used."""

    agent_options = ()

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("network namespaces and agents need root")
        cls.machines = cls.enterClassContext(Machines(COMMAND, cls.agent_options))
        cls._next_handler = 1

    def talker(self, machine, words, **options):
        return Talker(self.machines.start(machine, words, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, **options))

    def started(self, machine, words, **options):
        """A talker that has said that it is ready."""
        talker = self.talker(machine, words, **options)
        self.assertEqual(talker.hear(), "ready")
        return talker

    def prepare(self, pid, *options):
        """(handler, key) of a process of machine 1."""
        handler = type(self)._next_handler
        type(self)._next_handler += 1
        return handler, self.machines.prepare(1, pid, handler, *options)

    def resume(self, prepared, policy, *options):
        handler, key = prepared
        return self.talker(2, [COMMAND, "resume", 1, handler, "--key", key, "--policy", policy,
                               *options])

    def child_of(self, prepared, policy):
        """How a child is made where nothing else is said."""
        return self.resume(prepared, policy)

    def goes_on(self, words, before, after, ended=0, prepare_options=(), **options):
        """The law of this folder. `before` is said to the parent, then it is prepared; `after` is
        [(line, answer)...]: what each child and, in the end, the parent are told and must say."""
        parent = self.started(1, words, **options)
        for line, answer in before:
            self.assertEqual(parent.ask(line), answer)
        prepared = self.prepare(parent.pid, *prepare_options)
        for n in range(RESUMES):
            policy = POLICIES[n % len(POLICIES)]
            with self.subTest(resume=n, policy=policy):
                child = self.child_of(prepared, policy)
                for line, answer in after:
                    self.assertEqual(child.ask(line), answer)
                self.assertEqual(child.end(), ended)
        for line, answer in after:
            self.assertEqual(parent.ask(line), answer)
        self.assertEqual(parent.end(), ended)
        self.machines.mitosis(1, "reclaim", prepared[0])


def main():
    """Runs the tests of the calling file; exits with 77 where all of them were skipped."""
    if not COMMAND:
        sys.exit("MITOSIS_COMMAND: the built command")
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) >= result.testsRun else 0)
