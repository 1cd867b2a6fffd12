# SPDX-License-Identifier: MIT
"""Up to some machines on one private network, for the time of a test."""

import contextlib
import os
import tempfile

from image import HERE, Image
from machine import Machine
from switch import Switch

BUILD = os.environ.get("MITOSIS_VM_FOLDER", str(HERE.parents[1] / "build/vm"))


class Cluster(contextlib.ExitStack):
    """Boots `count` machines, at the same time, and waits for them. `options` are Machine's. A
    context."""

    def __init__(self, count, **options):
        super().__init__()
        self._count, self._options = count, options

    def __enter__(self):
        super().__enter__()
        try:
            image = Image(BUILD)
            folder = self.enter_context(tempfile.TemporaryDirectory(prefix="mitosis-vm-"))
            self.switch = self.enter_context(Switch(folder, self._count))
            self.machines = [
                self.enter_context(Machine(image, self.switch, number, folder, **self._options))
                for number in range(self._count)]
            self.release = {machine.wait() for machine in self.machines}.pop()
        except BaseException:
            self.close()
            raise
        return self
