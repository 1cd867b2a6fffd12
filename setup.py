# SPDX-License-Identifier: MIT
# What pyproject.toml cannot say: the built C library goes along. World: any pip or setuptools.
"""`./run build`, then `pip install .`: the package has libmitosis.so.0 beside its modules. Without a
build there is only Python in it, and it looks for the system's library."""
import os
import pathlib
import shutil

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

BUILT = pathlib.Path(os.environ.get("MITOSIS_BUILD", "build"), "tools/libmitosis/libmitosis.so.0")


class WithLibrary(build_py):
    def run(self):
        super().run()
        if BUILT.exists():
            shutil.copy(BUILT, pathlib.Path(self.build_lib, "mitosis", BUILT.name))


class ForOnePlatform(Distribution):
    """What has the library in it is for no other architecture."""

    def has_ext_modules(self):
        return BUILT.exists()


# Not build/, which is meson's.
setup(cmdclass={"build_py": WithLibrary}, distclass=ForOnePlatform,
      options={"build": {"build_base": "build-python"}})
