# SPDX-License-Identifier: MIT
"""mitosis.ko for the kernel that emulated machines boot, and machines that are strict with it.

The kernel's headers are downloaded and unpacked beside it, never installed; kernel/build.py does
the rest, in a few seconds."""

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


def build(unit=UNIT, name="module"):
    """The path of mitosis.ko, built from that C++ file where something has changed."""
    for tool, package in (("make", "make"), ("gcc-12", "gcc-12"), ("g++-12", "g++-12")):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed (package {package})")
    folder = pathlib.Path(BUILD)
    image = Image(folder)
    done = subprocess.run([sys.executable, "-B", str(BUILD_PY), "--kdir",
                           str(headers(folder, image.release)), "--unit", str(unit), "--output",
                           str(folder / name)], text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise AssertionError(f"the module does not build: {done.stderr}")
    return done.stdout.strip()


def load(machine, module, *parameters):
    """insmod does not load what a module needs, and modprobe no module of another folder."""
    machine.must("modprobe", "-a", "rdma_cm", "blake2b_generic", "sha512_generic")
    machine.must("insmod", module, *parameters)


def log(machine):
    """The lines of the machine's kernel log, once nothing in it is wrong."""
    lines = machine.must("dmesg").splitlines()
    wrong = [line for line in lines if FORBIDDEN.search(line)]
    if wrong:
        raise AssertionError(f"machine {machine.number}: the kernel says {wrong}")
    return lines


def compiler_output(source):
    """Only for tests of what the build refuses: status and words of a build of that C++ text."""
    folder = pathlib.Path(BUILD) / "refused"
    folder.mkdir(exist_ok=True)
    unit = folder / "unit.cpp"
    unit.write_text(source)
    try:
        build(unit, "refused")
    except AssertionError as error:
        return 1, str(error)
    return 0, ""
