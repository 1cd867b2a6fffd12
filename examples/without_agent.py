#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: without_agent.py PROGRAM...: each must say at once that no agent runs, and fail.
"""What a user sees who has forgotten to start the agent."""

import os
import subprocess
import sys
import tempfile

FLAGS = ["-handler_id=73", "-interval_ms=0"], ["-mac_id=0", "--key=" + "0" * 32], ["-gid=h:1"]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"MITOSIS_SOCKET": folder + "/none.sock"}
        for program, flags in zip(sys.argv[1:], FLAGS, strict=True):
            done = subprocess.run([program, *flags], env=env, capture_output=True, text=True,
                                  timeout=20, check=False)
            if done.returncode != 1 or "start one with `mitosis agent`" not in done.stderr:
                print(f"{program}: status {done.returncode}, said {done.stderr!r}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
