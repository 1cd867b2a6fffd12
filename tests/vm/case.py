# SPDX-License-Identifier: MIT
"""Cases on emulated machines: the machines of a process's cases are booted once, and how a test
ends where they cannot be had: skipped, with the reason."""

import importlib
import sys
import time
import unittest

import soft_roce
from cluster import BUILD, Cluster
from image import Image, Unavailable

SKIPPED = 77  # meson's exit status for a test that could not run


class Case(unittest.TestCase):
    """Has `cls.machines`, `COUNT` of them, with a device of `RDMA` each (None: none). Those of an
    earlier case of this process go on: a case ends what it has started."""

    COUNT = 2
    RDMA = soft_roce
    _shared = None

    @classmethod
    def setUpClass(cls):
        if Case._shared is None or len(Case._shared.machines) < cls.COUNT:
            Case._end()
            Case._shared = Cluster(cls.COUNT).__enter__()  # pylint: disable=unnecessary-dunder-call
        cls.cluster = Case._shared
        cls.machines = cls.cluster.machines[:cls.COUNT]
        try:
            for machine in cls.machines if cls.RDMA else ():
                cls.RDMA.start(machine)
        except Unavailable as why:
            raise unittest.SkipTest(str(why)) from why

    @staticmethod
    def _end():
        if Case._shared is not None:
            Case._shared.close()
            Case._shared = None

    def wait_for(self, done, why, seconds=60):
        """Until `done()`; else it has failed, and `why()` says why."""
        deadline = time.monotonic() + seconds
        while not done():
            self.assertLess(time.monotonic(), deadline, why())

    def wait_for_file(self, machine, path, why=lambda: "it is not there", seconds=120):
        self.wait_for(lambda: machine.run("test", "-e", path)[0] == 0, why, seconds)


def run_or_skip(*names):
    """unittest.main() of the calling script, or of the cases of these modules, in that order."""
    try:
        Image(BUILD)
        if not names:
            unittest.main(verbosity=2)
        loader = unittest.TestLoader()
        cases = unittest.TestSuite(
            loader.loadTestsFromModule(importlib.import_module(name)) for name in names)
        done = unittest.TextTestRunner(verbosity=2).run(cases)
        sys.exit(0 if done.wasSuccessful() else 1)
    except Unavailable as why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)
    finally:
        Case._end()  # pylint: disable=protected-access
