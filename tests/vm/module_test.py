#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""mitosis.ko in emulated machines, which are booted once: its builds, its device, forks on one
machine and between two, who may do what, what it bears. What takes one machine runs on both at
once, beside the builds. `module_test.py Remote` runs one class."""

import concurrent.futures
import threading
import unittest

import kernel_module
from case import run_or_skip
# unittest finds them here.
from module_build import Builds
from module_case import MACHINES
from module_command import TheCommand
from module_device import TheDevice
from module_fork import Forks
from module_keys import Keys, NoSecret
from module_laws import Laws, LawsHere
from module_life import Life, Nonsense
from module_policies import OwnModule, Policies
from module_remote import Remote
from module_ways import Ways

AT_ONCE = ((Builds,), (TheDevice, TheCommand, Forks, Nonsense), (Life, NoSecret, LawsHere))
AFTER_THAT = (OwnModule, Policies, Keys, Remote, Ways, Laws)


class Told(unittest.TestResult):
    """Tells another result of each test once it has ended: several threads' do not mix."""

    _lock = threading.Lock()

    def __init__(self, to):
        super().__init__()
        self._to = to

    def _tell(self, kind, test, *what):
        with self._lock:
            self._to.startTest(test)
            kind(test, *what)
            self._to.stopTest(test)

    def addSuccess(self, test):
        self._tell(self._to.addSuccess, test)

    def addFailure(self, test, err):
        self._tell(self._to.addFailure, test, err)

    def addError(self, test, err):
        self._tell(self._to.addError, test, err)

    def addSkip(self, test, reason):
        self._tell(self._to.addSkip, test, reason)


class AtOnce(unittest.TestSuite):
    """Runs its suites in threads of their own."""

    def run(self, result, debug=False):
        with concurrent.futures.ThreadPoolExecutor() as threads:
            # What all of them need.
            built = threads.submit(kernel_module.build)
            MACHINES.cluster()
            built.result()
            runs = [threads.submit(suite.run, Told(result), debug) for suite in self]
        for run in runs:
            run.result()
        return result


def load_tests(loader, _, __):
    """unittest's: which tests this module has, and how they run."""
    def of_classes(classes):
        return unittest.TestSuite(map(loader.loadTestsFromTestCase, classes))

    return unittest.TestSuite((AtOnce(map(of_classes, AT_ONCE)), of_classes(AFTER_THAT)))


if __name__ == "__main__":
    run_or_skip()
