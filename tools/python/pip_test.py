#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: pip_test.py LIBMITOSIS. `pip install .` offline, with and without a built library.
"""Installs the package from a copy of its sources, and imports it from there alone."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
USE = """
import inspect, pathlib, mitosis
folder = pathlib.Path(mitosis.__file__).parent
assert (folder / "py.typed").exists()
for name in mitosis.__all__:
    thing = getattr(mitosis, name)
    assert name == "HERE" or inspect.getdoc(thing), name
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            assert member[0] == "_" or not callable(value) or inspect.getdoc(value), (name, member)
assert mitosis.identity() is None
try:
    mitosis.nil()
except mitosis.Error as error:
    print(folder, error)
"""


def copy_sources(into):
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, into / name)
    shutil.copytree(ROOT / "tools/python", into / "tools/python",
                    ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def install(sources, target):
    subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-build-isolation",
                    "--no-index", "--no-deps", "--target", target, sources],
                   check=True, timeout=120)


def use(target, folder, status=0, **more):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target),
           "MITOSIS_SOCKET": "/nonexistent/agent.sock", **more}
    done = subprocess.run(["/usr/bin/python3", "-c", USE], env=env, cwd=folder, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == status, done
    return done.stdout + done.stderr


def main() -> int:
    if any(importlib.util.find_spec(name) is None for name in ("pip", "setuptools", "wheel")):
        print("python3-pip, python3-setuptools or python3-wheel is missing")
        return SKIPPED
    library = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="mitosis-pip-") as name:
        folder = pathlib.Path(name)
        sources = folder / "sources"
        sources.mkdir()
        copy_sources(sources)
        install(sources, folder / "plain")
        said = use(folder / "plain", folder, MITOSIS_LIBRARY=str(library))
        assert f"{folder}/plain/mitosis" in said and "mitosis agent" in said, said
        said = use(folder / "plain", folder, status=1, MITOSIS_LIBRARY="/nonexistent")
        assert "ImportError" in said and "set MITOSIS_LIBRARY" in said, said

        built = sources / "build/tools/libmitosis/libmitosis.so.0"
        built.parent.mkdir(parents=True)
        shutil.copy(library, built)
        install(sources, folder / "whole")
        assert "mitosis agent" in use(folder / "whole", folder)
        assert (folder / "whole/mitosis" / built.name).read_bytes() == library.read_bytes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
