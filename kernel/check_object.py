#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: check_object.py OBJECT. The build calls it for the C++ unit of a module.
"""Refuses an object that needs, or has, what a module must not: nothing there runs constructors,
unwinds, or keeps thread-local storage, and the shim's functions are all that it may call."""

import subprocess
import sys

# The kernel's, and what the compiler puts in for its flags; all others must be the shim's.
ALLOWED = {"memcpy", "memmove", "memset", "memcmp", "__fentry__", "__x86_return_thunk",
           "__stack_chk_fail"}
ALLOWED_PREFIXES = ("mitosis_", "__x86_indirect_thunk_")
REFUSED_SECTIONS = (".init_array", ".fini_array", ".ctors", ".dtors", ".tdata", ".tbss",
                    ".gcc_except_table", ".eh_frame")


def faults(path):
    """What is wrong with the object, one sentence each."""
    symbols = subprocess.run(["nm", "-u", path], check=True, capture_output=True, text=True).stdout
    sections = subprocess.run(["readelf", "-SW", path], check=True, capture_output=True,
                              text=True).stdout
    for name in sorted({line.split()[-1] for line in symbols.splitlines() if line.strip()}):
        if name not in ALLOWED and not name.startswith(ALLOWED_PREFIXES):
            yield f"needs {name}, which a module does not have"
    for name in REFUSED_SECTIONS:
        if f" {name} " in sections:
            yield f"has a section {name}, which the kernel ignores"


def main():
    found = list(faults(sys.argv[1]))
    for fault in found:
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
