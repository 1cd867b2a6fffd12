#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: together.py MODULE...
"""Runs the cases of several tests in one process, on machines that are booted once."""

import sys

from case import run_or_skip

run_or_skip(*sys.argv[1:])
