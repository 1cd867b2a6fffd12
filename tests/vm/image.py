# SPDX-License-Identifier: MIT
"""The kernel and initramfs that an emulated machine boots: Debian's own, made once a build folder.

The kernel's package is downloaded and unpacked, never installed. The initramfs holds busybox and
those modules that a machine needs before it can see the root file system: this host's, read-only,
through 9p (see init.sh). So a machine has every program and library that the tests have here, at
the same paths, but another kernel.
"""

import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
BUSYBOX = pathlib.Path("/bin/busybox")  # Debian's busybox-static
# What init.sh loads, and what tests load later; what they depend on comes along.
MODULES = ("virtio_pci", "virtio_net", "virtio_console", "9pnet_virtio", "9p", "overlay",
           "crc32_generic", "crc32c_generic", "libcrc32c", "rdma_rxe", "tcp_diag", "ib_uverbs",
           "rdma_ucm", "rdma_cm", "bridge", "veth", "blake2b_generic", "sha512_generic")
META_PACKAGE = "linux-image-amd64"
DOWNLOAD_SECONDS = 600


class Unavailable(Exception):
    """Emulated machines cannot be had here; says why. A reason to skip, not to fail."""


def require_tools():
    """Raises Unavailable, naming what is missing."""
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("depmod", "kmod"),
                          ("cpio", "cpio"), ("dpkg-deb", "dpkg"), ("apt-get", "apt")):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed (package {package})")
    if not BUSYBOX.exists():
        raise Unavailable(f"{BUSYBOX} is not installed (package busybox-static)")


def output_of(*words, **options):
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def kernel_package():
    """The package that holds the stock kernel, by its full name."""
    listed = output_of("apt-cache", "depends", META_PACKAGE)
    for line in listed.splitlines():
        if "Depends: linux-image-" in line:
            return line.split()[-1]
    raise Unavailable(f"apt knows no {META_PACKAGE}")


def download(folder, package):
    """Downloads a package into `folder`; its path there."""
    try:
        output_of("apt-get", "download", "-qq", package, cwd=folder,
                  stderr=subprocess.DEVNULL, timeout=DOWNLOAD_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{package} cannot be downloaded: {error}") from error
    [archive] = folder.glob(f"{package}_*.deb")
    return archive


def unpack(folder, name, packages):
    """Downloads packages and unpacks them into `folder`/`name`, once; returns that path."""
    root = folder / name
    if root.exists():
        return root
    half = folder / f"{name}.unpacking"
    shutil.rmtree(half, ignore_errors=True)
    for package in packages:
        archive = download(folder, package)
        output_of("dpkg-deb", "-x", str(archive), str(half))
        archive.unlink()
    half.rename(root)
    return root


def unpack_kernel(folder):
    """Downloads and unpacks the kernel into `folder`/kernel; its release."""
    root = folder / "kernel"
    if not root.exists():
        unpack(folder, "kernel", [kernel_package()])
    [modules] = (root / "lib/modules").iterdir()
    return modules.name


def with_dependencies(tree, names):
    """The files of modules, with all that they need, as `tree`/modules.dep has it."""
    needs = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[pathlib.Path(file).name.split(".")[0].replace("-", "_")] = [file, *rest.split()]
    builtin = {pathlib.Path(line).name.split(".")[0].replace("-", "_")
               for line in (tree / "modules.builtin").read_text().splitlines()}
    files = []
    for name in (name.replace("-", "_") for name in names):
        if name in builtin:
            continue
        if name not in needs:
            raise Unavailable(f"the stock kernel has no module {name}")
        files += [file for file in needs[name] if file not in files]
    return files


def build_initramfs(folder, release):
    """Packs `folder`/initramfs: busybox, modules and init.sh."""
    tree = folder / "kernel/lib/modules" / release
    output_of("depmod", "-b", str(folder / "kernel"), release)
    root = folder / "initramfs.d"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "proc", "sys", "dev", "host", "new", f"lib/modules/{release}"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    for file in with_dependencies(tree, MODULES):
        to = root / "lib/modules" / release / file
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / file, to)
    for file in tree.glob("modules.*"):
        shutil.copy(file, root / "lib/modules" / release)
    output_of("depmod", "-b", str(root), release)
    archive = folder / "initramfs.building"
    with open(archive, "wb") as out:
        names = "\0".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "--reproducible"],
                       cwd=root, input=names.encode(), stdout=out, check=True)
    archive.rename(folder / "initramfs")
    shutil.rmtree(root)


class Image:
    """What machines boot. `folder` keeps it for the next time; one process at a time makes it."""

    def __init__(self, folder):
        require_tools()
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.release = unpack_kernel(folder)
        self.kernel = folder / "kernel/boot" / f"vmlinuz-{self.release}"
        self.initramfs = folder / "initramfs"
        newest = max(os.path.getmtime(HERE / name) for name in ("init.sh", "image.py"))
        if not self.initramfs.exists() or os.path.getmtime(self.initramfs) < newest:
            build_initramfs(folder, self.release)
