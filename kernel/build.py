#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Builds mitosis.ko for one kernel, with that kernel's own build system.

The sources stay where they are: the output folder gets links to them, and all that is built. A
user's own module is another `--unit`: one C++ file with one line, as mitosis_default.cpp."""

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def include_folder():
    """Of <mitosis/...>: beside the sources, or, of what is installed, PREFIX/include."""
    for folder in (HERE.parent / "include", HERE.parents[2] / "include"):
        if (folder / "mitosis/fork/kernel/module.hpp").exists():
            return folder
    sys.exit("build.py: no folder with <mitosis/fork/kernel/module.hpp>: give it by --include")


def link(target, name):
    """`name` becomes a link to `target`, or stays one."""
    if name.is_symlink() and os.readlink(name) == str(target):
        return
    name.unlink(missing_ok=True)
    name.symlink_to(target)


def build(kdir, output, unit, include, jobs):
    """Builds `output`/mitosis.ko from the C++ file `unit`; raises CalledProcessError."""
    (output / "shim").mkdir(parents=True, exist_ok=True)
    link(HERE / "Kbuild", output / "Kbuild")
    link(unit, output / "core.cpp")
    for file in (HERE / "shim").glob("*.[ch]"):
        link(file, output / "shim" / file.name)
    subprocess.run(["make", "--quiet", "-C", str(kdir), f"M={output}", f"-j{jobs}",
                    f"MITOSIS_INCLUDE={include}", f"MITOSIS_CHECK={HERE / 'check_object.py'}",
                    "modules"], check=True, stdout=sys.stderr)
    return output / "mitosis.ko"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kdir", required=True, type=pathlib.Path,
                        help="the kernel's headers: /lib/modules/RELEASE/build")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder for the module")
    parser.add_argument("--unit", type=pathlib.Path, default=HERE / "mitosis_default.cpp",
                        help="the C++ file that chooses the policy")
    parser.add_argument("--include", type=pathlib.Path,
                        help="the folder of <mitosis/...> (the one beside it)")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not (args.kdir / "Makefile").exists():
        sys.exit(f"build.py: {args.kdir} holds no kernel headers (package linux-headers-amd64)")
    try:
        print(build(args.kdir.resolve(), args.output.resolve(), args.unit.resolve(),
                    (args.include or include_folder()).resolve(), args.jobs))
    except subprocess.CalledProcessError as error:
        sys.exit(f"build.py: the kernel's build ended with {error.returncode}")


if __name__ == "__main__":
    main()
