# SPDX-License-Identifier: MIT
"""How a test of emulated machines ends where they cannot be had: skipped, with the reason."""

import sys
import unittest

from cluster import BUILD
from image import Image, Unavailable

SKIPPED = 77  # meson's exit status for a test that could not run


def run_or_skip():
    """unittest.main() of the calling script."""
    try:
        Image(BUILD)
        unittest.main(verbosity=2)
    except Unavailable as why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)
