#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Compiling freestanding proves little: the object must also need nothing that a kernel lacks.
# Usage: freestanding.py --compiler=CXX... [--refuse=SYMBOL_OR_SECTION] FILE
#        freestanding.py --compiler=CXX... --all-headers
"""Compiles with the kernel's flags, then checks undefined symbols and sections."""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = """-std=gnu++20 -O2 -ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics
    -fno-use-cxa-atexit -fno-asynchronous-unwind-tables -fcheck-new -fno-pic -fno-stack-protector
    -fno-strict-aliasing -mno-sse -mno-mmx -mno-80387 -mno-red-zone -mcmodel=kernel
    -Wall -Wextra -Wconversion -Werror""".split()
# The shim provides these; everything else is a mistake.
ALLOWED_SYMBOLS = {"memcpy", "memmove", "memset", "memcmp"}
# Constructors never run, there is no thread-local storage and no unwinder.
REFUSED_SECTIONS = (".init_array", ".fini_array", ".ctors", ".dtors", ".tdata", ".tbss",
                    ".gcc_except_table")


def compile_object(compiler: str, file: pathlib.Path, output: pathlib.Path) -> None:
    # clang 14 knows -fcheck-new, but says that it does nothing with it.
    quiet = ["-Wno-unused-command-line-argument"] if "clang" in compiler else []
    command = [compiler, *FLAGS, *quiet, f"-I{ROOT}/include", "-c", str(file), "-o", str(output)]
    subprocess.run(command, check=True)


def faults(obj: pathlib.Path) -> list[str]:
    """What the object needs or has and a kernel lacks or ignores."""
    symbols = subprocess.run(["nm", "-uC", str(obj)], check=True, capture_output=True, text=True)
    names = {line.split(maxsplit=1)[1] for line in symbols.stdout.splitlines() if line.strip()}
    sections = subprocess.run(["readelf", "-SW", str(obj)], check=True, capture_output=True,
                              text=True)
    found = sorted(names - ALLOWED_SYMBOLS)
    return found + [s for s in REFUSED_SECTIONS if f" {s}" in sections.stdout]


def all_headers() -> str:
    """A translation unit of all headers that say they are for any world."""
    base = ROOT / "include" / "mitosis"
    chosen = [h for h in sources.headers(ROOT) if sources.world((base / h).read_text()) == "any"]
    return "".join(f"#include <mitosis/{name}>\n" for name in chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", action="append", required=True)
    parser.add_argument("--refuse", help="succeed only if this symbol or section is refused")
    parser.add_argument("--all-headers", action="store_true")
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    args = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        file = args.file
        if args.all_headers:
            file = pathlib.Path(folder, "all_headers.cpp")
            file.write_text(all_headers())
        for compiler in args.compiler:
            obj = pathlib.Path(folder, "unit.o")
            compile_object(compiler, file, obj)
            found = faults(obj)
            if args.refuse:
                good = any(args.refuse in item for item in found)
            else:
                good = not found
            print(f"{compiler}: {file.name}: {'as expected' if good else 'FAULT'}: {found}")
            status = status if good else 1
    return status


if __name__ == "__main__":
    sys.exit(main())
