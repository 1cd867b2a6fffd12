# SPDX-License-Identifier: MIT
# What the header checks share: which files there are, the world a header names, its includes.
"""Helpers of the scripts in tests/headers; imported, not run."""

import pathlib
import re

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)
WORLD = re.compile(r"World:\s+(any|both|user|sim|kernel)\b")
SUFFIXES = {".hpp", ".h", ".cpp", ".c", ".py"}


def headers(root: pathlib.Path) -> list[str]:
    """All headers of include/mitosis, as they are included: "policy/axes.hpp"."""
    base = root / "include" / "mitosis"
    files = [p for p in base.rglob("*") if p.suffix in {".hpp", ".h"}]
    return sorted(p.relative_to(base).as_posix() for p in files)


def sources(root: pathlib.Path) -> list[pathlib.Path]:
    """All source files of the project, the build folders left out."""
    found = []
    for folder in ("include", "tools", "tests", "examples", "benchmarks", "kernel", "python"):
        found += [p for p in (root / folder).rglob("*") if p.suffix in SUFFIXES]
    return sorted(found)


def world(text: str) -> str:
    """The world that a file's top comment names; "" where it names none."""
    match = WORLD.search("\n".join(text.splitlines()[:15]).replace("\n//", " "))
    return match.group(1) if match else ""


def includes(text: str) -> list[tuple[str, str]]:
    """(bracket, path) of every include directive."""
    return INCLUDE.findall(text)
