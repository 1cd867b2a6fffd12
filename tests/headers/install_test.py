#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Installs into a temporary folder and builds a ten-line program with what pkg-config says, as a
# user would. Usage: install_test.py BUILD_FOLDER COMPILER...
"""Install and consume: nothing but the installed headers may be needed."""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = "dct+eager+none+cow\n"


def main() -> int:
    build, compilers = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as root:
        install = ["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--tags", "devel"]
        subprocess.run([*install, "--destdir", root], check=True, stdout=subprocess.DEVNULL)
        (package,) = pathlib.Path(root).rglob("mitosis.pc")
        env = os.environ | {"PKG_CONFIG_PATH": str(package.parent), "PKG_CONFIG_SYSROOT_DIR": root}
        answer = subprocess.run(["pkg-config", "--cflags", "mitosis"], env=env, check=True,
                                capture_output=True, text=True)
        flags = answer.stdout.split()
        for compiler in compilers:
            program = pathlib.Path(root, "consumer")
            subprocess.run([compiler, *flags, str(HERE / "consumer.cpp"), "-o", str(program)],
                           check=True)
            said = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
            if said != EXPECTED:
                print(f"{compiler}: the program said {said!r}, not {EXPECTED!r}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
