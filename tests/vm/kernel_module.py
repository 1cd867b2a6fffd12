# SPDX-License-Identifier: MIT
"""mitosis.ko for the kernel that emulated machines boot, and machines that are strict with it.

The kernel's headers are downloaded and unpacked beside it, never installed; kernel/build.py does
the rest, in a few seconds."""

import functools
import pathlib
import re
import shutil
import subprocess
import sys

from cluster import BUILD
from image import HERE, Image, Unavailable, unpack

BUILD_PY = HERE.parents[1] / "kernel/build.py"
UNIT = HERE.parents[1] / "kernel/mitosis_default.cpp"
# Freed memory is poisoned, red zones are checked, and whatever the kernel warns of ends it.
STRICT = "slub_debug=FZP init_on_free=1 page_poison=1 panic_on_warn=1"
FORBIDDEN = re.compile(r"BUG|WARNING|Oops|Bad page|rss-counter|page allocation failure|"
                       r"Object corrupted|Redzone|Poison overwritten|refcount_t")


def headers(folder, release):
    """The folder that the kernel's build system calls KDIR."""
    flavour = release.rsplit("-", 1)[0]
    root = unpack(folder, "headers", [f"linux-headers-{release}", f"linux-headers-{flavour}-common",
                                      f"linux-kbuild-{'.'.join(release.split('.')[:2])}"])
    kdir = root / f"usr/src/linux-headers-{release}"
    # Debian's makefile names the other half of the headers where it would be installed.
    makefile = kdir / "Makefile"
    text = makefile.read_text()
    moved = re.sub(r"^include .*/usr/src/", f"include {root}/usr/src/", text, flags=re.M)
    if moved != text:
        makefile.write_text(moved)
    return kdir


def build_py(unit, output, *options):
    """A run of kernel/build.py; all units share what is built of the shim."""
    folder = pathlib.Path(BUILD)
    return subprocess.run([sys.executable, "-B", str(BUILD_PY), "--kdir",
                           str(headers(folder, Image(folder).release)), "--unit", str(unit),
                           "--objects", str(folder / "objects"), "--output", str(output),
                           *options], text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


@functools.cache
def build(unit=UNIT, name="module"):
    """The path of mitosis.ko, built from that C++ file where something has changed; once a process.
    Not in two threads."""
    for tool, package in (("make", "make"), ("gcc-12", "gcc-12"), ("g++-12", "g++-12")):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed (package {package})")
    done = build_py(unit, pathlib.Path(BUILD) / name)
    if done.returncode != 0:
        raise AssertionError(f"the module does not build: {done.stderr}")
    return done.stdout.strip()


def sparse():
    """What sparse says of the shim, line by line; of headers that are not ours nothing. After a
    build."""
    folder = pathlib.Path(BUILD)
    checker = unpack(folder, "sparse", ["sparse"]) / "usr/bin/sparse"
    done = build_py(UNIT, folder / "module", "--check", str(checker))
    if done.returncode != 0:
        raise AssertionError(f"sparse cannot check the module: {done.stderr}")
    objects = str(folder / "objects")
    return [line for line in done.stderr.splitlines() if line.startswith(objects)]


def tree(machine):
    """The folder of all modules of the machine's kernel, of which it has a few by itself."""
    release = machine.must("uname", "-r").strip()
    return pathlib.Path(BUILD) / "kernel/lib/modules" / release


def load(machine, module, *parameters):
    """insmod does not load what a module needs, and modprobe no module of another folder."""
    machine.must("sh", "-c", "modprobe -a rdma_cm blake2b_generic sha512_generic && "
                             "insmod \"$@\"", "sh", module, *parameters)


def log(machine, said=None):
    """The lines of the machine's kernel log (`said`: what dmesg has said), once nothing in it is
    wrong."""
    lines = (said or machine.must("dmesg")).splitlines()
    wrong = [line for line in lines if FORBIDDEN.search(line)]
    if wrong:
        raise AssertionError(f"machine {machine.number}: the kernel says {wrong}")
    return lines


def compiler_output(source):
    """Only for tests of what the build refuses: status and words of a build of that C++ text."""
    folder = pathlib.Path(BUILD) / "refused"
    folder.mkdir(exist_ok=True)
    unit = folder / "refused.cpp"
    unit.write_text(source)
    try:
        build.__wrapped__(unit, "refused")
    except AssertionError as error:
        return 1, str(error)
    return 0, ""
