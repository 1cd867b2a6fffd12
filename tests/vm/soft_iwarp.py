# SPDX-License-Identifier: MIT
"""Soft-iWARP (siw) on the machines of a cluster: verbs over their TCP, in the place of soft-RoCE.

Debian's kernel is built without it (CONFIG_RDMA_SIW), but its source package has it: it is built as
it is, against the kernel's headers, once a build folder."""

import functools
import pathlib
import re
import shutil
import subprocess

import soft_roce
from agents import PORT
from cluster import BUILD
from image import Image, Unavailable, download, output_of
from kernel_module import headers

DEVICE = "siw0"
SOURCE = "drivers/infiniband/sw/siw"
BUILD_SECONDS = 600


def unpack_source(folder, release):
    """Downloads the kernel's source package and unpacks siw's part of it into `folder`."""
    version = ".".join(release.split(".")[:2])
    archive = download(folder, f"linux-source-{version}")
    unpacking = ('dpkg-deb --fsys-tarfile "$0" | tar xO "./usr/src/linux-source-$1.tar.xz" | xz -dc'
                 ' | tar x -C "$2" --strip-components=5 "linux-source-$1/$3"')
    output_of("sh", "-ec", unpacking, str(archive), version, str(folder), SOURCE,
              timeout=BUILD_SECONDS)
    archive.unlink()


@functools.cache
def module():
    """The path of siw.ko; Unavailable where its source cannot be had."""
    base = pathlib.Path(BUILD)
    release = Image(base).release
    folder = base / "siw"
    built = folder / "siw.ko"
    if built.exists() and f"vermagic={release} ".encode() in built.read_bytes():
        return built
    for tool in ("make", "gcc-12", "xz"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed: soft-iWARP cannot be built")
    folder.mkdir(exist_ok=True)
    unpack_source(folder, release)
    try:
        output_of("make", "--quiet", "-C", str(headers(base, release)), f"M={folder}",
                  "CONFIG_RDMA_SIW=m", "modules", stderr=subprocess.PIPE, timeout=BUILD_SECONDS)
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"siw does not build: {error.stderr}") from error
    return built


def start(machine):
    """Makes its device `siw0` the only one, and waits until it can be used."""
    if machine.run("test", "-e", "/sys/module/siw")[0] != 0:
        # Nothing there loads by itself what a module asks for; tcp_diag is for `read_bytes`.
        machine.must("modprobe", "-a", "crc32c_generic", "libcrc32c", "rdma_cm", "tcp_diag")
        machine.must("insmod", module())
    soft_roce.make(machine, DEVICE, "siw")


def read_bytes(machine):
    """How many have come through its device's connections that are up: all but the agents' own."""
    said = machine.must("ss", "-tinHO", "state", "established",
                        f"( sport != :{PORT} and dport != :{PORT} )")
    return sum(int(count) for count in re.findall(r"bytes_received:(\d+)", said))
