#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Builds mitosis.ko for one kernel, with that kernel's own build system.

The sources stay where they are: the output folder gets links to them, and all that is built. A
user's own module is another `--unit`: one C++ file with one line, as mitosis_default.cpp.
Modules of several policies differ in that file alone: with one `--objects` folder the shim is
built once."""

import argparse
import os
import pathlib
import shutil
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
    """`name` becomes a link to `target`, or stays one; whether it was something else."""
    if name.is_symlink() and os.readlink(name) == str(target):
        return False
    name.unlink(missing_ok=True)
    name.symlink_to(target)
    return True


def build(args):
    """Builds `output`/mitosis.ko from the C++ file `unit`; raises CalledProcessError."""
    output = args.output.resolve()
    objects = args.objects.resolve() if args.objects else output
    unit = args.unit.resolve()
    core = f"core_{unit.stem}"
    (objects / "shim").mkdir(parents=True, exist_ok=True)
    link(HERE / "Kbuild", objects / "Kbuild")
    if link(unit, objects / f"{core}.cpp"):
        (objects / f"{core}.o").unlink(missing_ok=True)  # it may be newer than this unit
    for file in (HERE / "shim").glob("*.[ch]"):
        link(file, objects / "shim" / file.name)
    include = (args.include or include_folder()).resolve()
    subprocess.run(["make", "--quiet", "-C", str(args.kdir.resolve()), f"M={objects}",
                    f"-j{args.jobs}", f"MITOSIS_CORE={core}", f"MITOSIS_INCLUDE={include}",
                    f"MITOSIS_CHECK={HERE / 'check_object.py'}",
                    *(("C=2", f"CHECK={args.check}") if args.check else ()), "modules"],
                   check=True, stdout=sys.stderr)
    if objects != output:
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(objects / "mitosis.ko", output)
    return output / "mitosis.ko"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kdir", required=True, type=pathlib.Path,
                        help="the kernel's headers: /lib/modules/RELEASE/build")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder for the module")
    parser.add_argument("--objects", type=pathlib.Path,
                        help="folder for what is compiled, which several modules may share (the "
                             "module's own)")
    parser.add_argument("--unit", type=pathlib.Path, default=HERE / "mitosis_default.cpp",
                        help="the C++ file that chooses the policy")
    parser.add_argument("--include", type=pathlib.Path,
                        help="the folder of <mitosis/...> (the one beside it)")
    parser.add_argument("--check", type=pathlib.Path,
                        help="a checker (sparse) that reads all of the shim, changed or not")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not (args.kdir / "Makefile").exists():
        sys.exit(f"build.py: {args.kdir} holds no kernel headers (package linux-headers-amd64)")
    try:
        print(build(args))
    except subprocess.CalledProcessError as error:
        sys.exit(f"build.py: the kernel's build ended with {error.returncode}")


if __name__ == "__main__":
    main()
